"""`mer scan`, `preprocess`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from schemas.config import Execution, PreprocessConfig
from schemas.options import Given, Json, console, examples, options

app = typer.Typer(rich_markup_mode=None)

Root = Annotated[
    Path,
    typer.Argument(
        metavar="PATH", help="A dataset's folder, its parent or its image folder, a video, or a table of clips."
    ),
]
Annotation = Annotated[Path | None, typer.Option(help="The dataset's spreadsheet, instead of the one that is found.")]


@app.command(epilog=examples("mer scan /data/CASME2", "mer scan clips.csv --template"))
@options(PreprocessConfig, "dataset", "long")
def scan(
    root: Root,
    annotation: Annotation = None,
    template: Annotated[
        bool, typer.Option("--template", help="Write an example of a table of clips to PATH instead.")
    ] = False,
    as_json: Json = False,
    *,
    given: Given,
) -> None:
    """Look at a raw dataset without processing it: clips, labels against the published counts, every finding."""
    from pipeline.datasets import scan_dataset
    from pipeline.datasets.clip_table import write_template
    from pipeline.inspect.scan import scan_exit_code, scan_json, scan_report

    if template:
        write_template(root)
        print(f"{root}: an example; next: mer scan {root}")
        return
    fields = given.fields(PreprocessConfig)
    _, found = scan_dataset(root, fields.get("dataset"), annotation, long=bool(fields.get("long")))
    if as_json:
        print(json.dumps(scan_json(found), ensure_ascii=False))
    else:
        console().print(scan_report(found))
    raise typer.Exit(scan_exit_code(found))


@app.command(
    epilog=examples("mer preprocess /data/CASME2", "mer preprocess talk.mp4 -o talk.zarr --depth mesh --au mesh")
)
@options(PreprocessConfig)
@options(Execution)
def preprocess(
    root: Root,
    annotation: Annotation = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Store to write.  [default: <dataset>.zarr]")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file that sets the same fields; options win.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the store that is there.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try the failed clips of a complete store again.")
    ] = False,
    *,
    given: Given,
) -> None:
    """Turn a raw dataset into a verified store. Killed half way, the same command goes on."""
    from pipeline.preprocessing.preprocess import preprocess as run

    code = run(
        root,
        out=out,
        options=given.fields(PreprocessConfig),
        config_file=config,
        execution=given.make(Execution),
        overwrite=overwrite,
        retry_failed=retry_failed,
        console=console(),
        annotation=annotation,
    )
    raise typer.Exit(code)
