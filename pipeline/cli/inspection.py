"""`mer inspect`, `verify`, `show`, `diff`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import StorePlace
from schemas.options import Json, console, examples, offered
from schemas.words import count

app = typer.Typer(rich_markup_mode=None)

ClipKey = Annotated[
    str,
    typer.Argument(
        help="Key of the clip, dataset/subject/clip, as `mer inspect` lists it.",
        autocompletion=offered(lambda ctx: _clip_keys(str(ctx.params["store"]))),
    ),
]


@app.command(epilog=examples("mer inspect casme2.zarr", "mer inspect estimated.zarr --depth-error measured.zarr"))
def inspect(
    store: StorePlace,
    depth_error: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="Judge the depth by another store of these clips, made with measured depth."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is in a store: clips, labels, sizes, backends, failures, clips worth a look."""
    from pipeline.inspect.inspection import report, summarise
    from schemas.store.reader import Store

    if depth_error is not None:
        from pipeline.inspect.depth_error import depth_error_report, depth_errors

        mine, measured = Store.open(store), Store.open(depth_error)
        errors = depth_errors(mine, measured)
        if as_json:
            print(json.dumps([asdict(error) for error in errors]))
        else:
            console().print(depth_error_report(errors, mine, measured))
        return
    summary = summarise(Store.open(store, edited=True))
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        console().print(report(summary))


@app.command(epilog=examples("mer verify casme2.zarr", "mer verify casme2.zip --deep"))
def verify(
    store: StorePlace,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every clip too, and check the values.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Count files that a file manager dropped into the store as problems too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every byte of a store against its manifest; exit code 1 if anything is wrong."""
    from pipeline.inspect.verification import verify as check
    from schemas.store.reader import Store

    found = check(Store.open(store, edited=True), deep=deep)
    problems = [problem for problem in found if strict or problem.kind != "harmless"]
    if as_json:
        print(json.dumps([asdict(problem) for problem in found], ensure_ascii=False))
    else:
        for problem in problems:
            print(f"{problem.kind}: {problem.path}: {problem.message}")
        if dropped := [problem.path for problem in found if problem not in problems]:
            print(f"extra files, harmless: {', '.join(dropped)}")
        if problems:
            print(f"{store}: {count(len(problems), 'problem')}; copy the store again, or preprocess with --overwrite")
        else:
            print(f"{store}: sound" + (", every clip decodes" if deep else "; --deep also decodes every clip"))
    raise typer.Exit(1 if problems else 0)


@app.command(
    epilog=examples(
        "mer show casme2.zarr casme2/sub01/EP02_01f", "mer show casme2.zarr casme2/sub01/EP02_01f --out clip.pdf"
    )
)
def show(
    store: StorePlace,
    clip: ClipKey,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write: png, pdf or svg.")] = Path("clip.png"),
) -> None:
    """Draw one clip: frames, depth, motion, action units of onset and apex."""
    from pipeline.inspect.figures import clip_figure
    from schemas.store.reader import Store

    clip_figure(Store.open(store), clip, out)
    print(out)


def _clip_keys(store: str) -> list[str]:
    from schemas.store.reader import Store

    return [entry.key for entry in Store.open(store).manifest.clips]


@app.command(epilog=examples("mer diff casme2.zarr copy.zarr", "mer diff casme2.zarr s3://team/casme2.zarr --json"))
def diff(
    store: StorePlace,
    other: Annotated[str, typer.Argument(metavar="STORE", help="The store to compare with.")],
    as_json: Json = False,
) -> None:
    """Compare two stores by config, versions, clips, labels and hashes; exit code 1 if they differ."""
    from pipeline.sharing.diff import diff as compare
    from schemas.store.reader import Store

    differences = compare(Store.open(store), Store.open(other))
    if as_json:
        print(json.dumps([asdict(difference) for difference in differences], ensure_ascii=False))
    else:
        for difference in differences:
            print(f"{difference.kind}: {difference.name}: {difference.mine!r} / {difference.theirs!r}")
        print(count(len(differences), "difference") if differences else "equal: the same content to the byte")
    raise typer.Exit(1 if differences else 0)
