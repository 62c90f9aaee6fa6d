"""`mer merge`, `subset`, `relabel`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import StorePlace, Without
from schemas.options import examples
from schemas.words import count

app = typer.Typer(rich_markup_mode=None)

OutStore = Annotated[Path, typer.Option("--out", "-o", help="Store to write; nothing may be there yet.")]


@app.command(
    epilog=examples(
        "mer merge half.zarr other-half.zarr -o casme2.zarr", "mer merge casme2.zarr samm.zarr -o both.zarr"
    )
)
def merge(
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="Stores of one config.")], out: OutStore
) -> None:
    """Make one store of several without recompressing; clips that are in more than one must be equal."""
    from pipeline.sharing.merge import merge as combine
    from schemas.store.reader import Store

    manifest = combine([Store.open(store) for store in stores], out)
    print(f"{out}: {count(len(manifest.clips), 'clip')}, content {manifest.content_sha256}")


@app.command(
    epilog=examples(
        "mer subset casme2.zarr -o happy.zarr --where 'emotion=happiness|surprise,frames>=16'",
        "mer subset casme2.zarr -o shared.zarr --without texture --anonymise",
    )
)
def subset(
    store: StorePlace,
    out: OutStore,
    subjects: Annotated[str | None, typer.Option(help="Keep these subjects, separated by commas.")] = None,
    labels: Annotated[str | None, typer.Option(help="Keep these emotions, separated by commas.")] = None,
    where: Annotated[
        str | None, typer.Option(help="Keep clips like emotion=happiness|surprise,expression_type=micro.")
    ] = None,
    without: Without = None,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Rename subjects and clips, drop source paths.")
    ] = False,
    key: Annotated[
        Path | None, typer.Option(help="File of the secret behind the names, made if missing; else it is thrown away.")
    ] = None,
) -> None:
    """Copy some clips of a store, or some of its arrays, to a store of its own."""
    from pipeline.sharing.pseudonyms import Pseudonyms
    from pipeline.sharing.selection import Selection
    from pipeline.sharing.subset import clip_arrays
    from pipeline.sharing.subset import subset as take
    from schemas.errors import ConfigError
    from schemas.store.reader import Store

    if key is not None and not anonymise:
        raise ConfigError("--key: names are drawn only with --anonymise")
    selection = Selection.parse(subjects=subjects, labels=labels, where=where)
    opened, left_out = Store.open(store), clip_arrays(without)
    pseudonyms = None
    if anonymise:
        pseudonyms = Pseudonyms.from_file(key) if key is not None else Pseudonyms.random()
    manifest = take(opened, out, selection=selection, without=left_out, pseudonyms=pseudonyms)
    taken = f"{len(manifest.clips)} of {count(len(opened.manifest.clips), 'clip')}"
    print(f"{out}: {taken}, content {manifest.content_sha256}")
    if anonymise and "texture" in manifest.arrays:
        print("the texture still shows the faces: --without texture leaves it out", file=sys.stderr)


@app.command(
    epilog=examples(
        "mer relabel casme2.zarr labels.csv -o mended.zarr", "mer relabel casme2.zip labels.xlsx --out mended.zarr"
    )
)
def relabel(
    store: StorePlace,
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="Columns clip, and emotion, action_units or objective_class.")
    ],
    out: OutStore,
) -> None:
    """Copy a store with the labels that a table gives to some of its clips; the copy records what was changed."""
    from pipeline.sharing.relabel import relabel as write
    from schemas.store.reader import Store

    manifest, changed = write(Store.open(store), table, out)
    print(f"{out}: {changed} of {count(len(manifest.clips), 'clip')} relabelled, content {manifest.content_sha256}")
