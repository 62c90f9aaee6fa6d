"""`mer weights`: `list`, `fetch`, `path`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from schemas.config import Execution
from schemas.options import Given, Json, console, examples, options

app = typer.Typer(rich_markup_mode=None)
weights_app = typer.Typer(
    help="List, fetch and locate the weights of neural networks.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=examples("mer weights list", "mer weights fetch depth-anything-v2-small --models-dir /data/models"),
)
app.add_typer(weights_app, name="weights")


@weights_app.command("list")
@options(Execution, "models_dir")
def list_weights(as_json: Json = False, *, given: Given) -> None:
    """Show the known weights, and which of them are on this machine."""
    from rich.table import Column, Table

    from pipeline.weights.locate import list_models

    rows = list_models(given.make(Execution).models_dir)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], default=str))
        return
    name = Column("name", min_width=max(len(row.name) for row in rows))  # whole: it is what one types
    table = Table(name, "state", "repository", "revision", "licence", "file")
    for row in rows:
        table.add_row(row.name, row.state, row.repository, (row.revision or "newest")[:12], row.licence, str(row.path))
    console().print(table)


@weights_app.command()
@options(Execution, "models_dir")
def fetch(
    names: Annotated[list[str], typer.Argument(help="Weights, as `mer weights list` names them.")], *, given: Given
) -> None:
    """Download weights, into the models folder if there is one."""
    from pipeline.weights.locate import fetch as download

    for name in names:
        found = download(name, given.make(Execution).models_dir)
        print(f"{found.path}  sha256 {found.record.sha256}")


@weights_app.command()
@options(Execution, "models_dir")
def path(name: Annotated[str, typer.Argument(help="As of `fetch`.")], *, given: Given) -> None:
    """Print where weights lie, after fetching them if they are not here yet."""
    from pipeline.weights.locate import locate

    print(locate(name, given.make(Execution).models_dir).path)
