"""Coverage-guided fuzzing of what reads a stranger's manifest and metadata; only errors of ours may come out.

    pip install atheris
    python -m tests.fuzz.foreign_stores -max_total_time=600 CORPUS_FOLDER

The first byte chooses the reader. An empty corpus folder is filled with a golden store's manifest and metadata.
"""

import sys
from pathlib import Path
from zipfile import ZipFile

import atheris

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "format-1.zip"

READS_IT = ["schemas", "json", "pipeline.sharing.untrusted", "pipeline.inspect.verification"]

with atheris.instrument_imports(include=READS_IT):
    from pipeline.sharing.untrusted import refuse_foreign
    from schemas.errors import MerError
    from schemas.store.format import array_metadata
    from schemas.store.location import StoreUrl
    from schemas.store.manifest_file import parsed_manifest
    from schemas.store.reader import Store

URL = StoreUrl("s3://strangers/s.zarr")
MANIFEST = Store.open(GOLDEN).manifest


def read_one(data: bytes) -> None:
    """Read a manifest, or the metadata of the golden store."""
    kind, text = data[:1], data[1:]
    try:
        if kind == b"m":
            store = Store(URL, parsed_manifest(URL, text))
            refuse_foreign(store)
            assert store.files is not None
        else:
            array_metadata(URL, text, MANIFEST)
    except MerError:
        return


def main() -> None:
    """Fill an empty corpus, and fuzz."""
    for argument in sys.argv[1:]:
        if not argument.startswith("-"):
            corpus = Path(argument)
            corpus.mkdir(parents=True, exist_ok=True)
            with ZipFile(GOLDEN) as golden:
                (corpus / "manifest").write_bytes(b"m" + golden.read("manifest.json"))
                (corpus / "metadata").write_bytes(b"z" + golden.read("zarr.json"))
    atheris.Setup(sys.argv, read_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
