"""`mer push`, `pull`, `pack`, `unpack`, `cite`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import StorePlace, Without
from schemas.options import console, examples
from schemas.words import count

app = typer.Typer(rich_markup_mode=None)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace another store that is there.")]


@app.command(
    epilog=examples("mer push casme2.zarr s3://team/casme2.zarr", "mer push casme2.zarr /mnt/share/casme2.zarr --yes")
)
def push(
    store: StorePlace,
    url: Annotated[str, typer.Argument(metavar="URL", help="s3://bucket/name.zarr, gs://, sftp://, or a folder.")],
    without: Without = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask: whoever can read there may see the faces.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Publish a store: only what differs moves, the manifest last. Killed half way, the same command goes on."""
    from pipeline.sharing.push import push as send
    from pipeline.sharing.subset import clip_arrays, partial
    from schemas.store.reader import Store

    def confirm(question: str) -> bool:
        return yes or (sys.stdin.isatty() and typer.confirm(question))

    with partial(Store.open(store), clip_arrays(without)) as shared:
        done = send(shared, url, confirm=confirm, console=console(), overwrite=overwrite)
    print(f"{done.url}: {count(done.objects, 'object')}, {done.bytes / 1e6:.1f} MB pushed, {done.deleted} deleted")


@app.command(epilog=examples("mer pull s3://team/casme2.zarr", "mer pull https://host/casme2.zip copy.zarr"))
def pull(
    url: Annotated[str, typer.Argument(metavar="URL", help="s3://bucket/name.zarr or .zip, https://, or a folder.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="[STORE]", help="Store to write.  [default: named as in the URL]")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Fetch a store, checking every byte; only what is missing moves. Killed half way, the same command goes on."""
    from pipeline.sharing.pull import pull as fetch

    done = fetch(url, out, console=console(), overwrite=overwrite)
    content = done.manifest.content_sha256
    print(
        f"{done.path}: {count(len(done.manifest.clips), 'clip')}, content {content}, {done.bytes / 1e6:.1f} MB fetched"
    )


@app.command(epilog=examples("mer pack casme2.zarr", "mer pack casme2.zarr /mnt/share/casme2.zip"))
def pack(
    store: StorePlace,
    out: Annotated[Path | None, typer.Argument(metavar="[FILE.zip]", help="[default: STORE with .zip]")] = None,
) -> None:
    """Put a store into one zip file, which every command reads where it lies."""
    from pipeline.sharing.pack import pack as write
    from schemas.store.location import located
    from schemas.store.reader import Store

    out = out or Path(located(store).name).with_suffix(".zip")
    write(Store.open(store), out)
    print(out)


@app.command(epilog=examples("mer unpack casme2.zip", "mer unpack casme2.zip copy.zarr"))
def unpack(
    archive: Annotated[Path, typer.Argument(metavar="FILE.zip", help="Made by `mer pack`.")],
    out: Annotated[Path | None, typer.Argument(metavar="[STORE]", help="[default: FILE with .zarr]")] = None,
) -> None:
    """Unpack a store, checking every byte; a file that `mer pack` has not made is refused."""
    from pipeline.sharing.pack import unpack as read

    out = out or archive.with_suffix(".zarr")
    manifest = read(archive, out)
    print(f"{out}: {count(len(manifest.clips), 'clip')}, content {manifest.content_sha256}")


@app.command("cite", epilog=examples("mer cite casme2.zarr", "mer cite s3://team/casme2.zarr"))
def cite_store(store: StorePlace) -> None:
    """Print a store's content id and terms, and BibTeX of the datasets and tools behind it."""
    from pipeline.sharing.cite import cite
    from schemas.store.reader import Store

    print(cite(Store.open(store)))
