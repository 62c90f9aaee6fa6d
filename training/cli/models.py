"""`mer models`: the networks, and what one of them costs."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from schemas.options import Json, console, examples
from training.cli.options import OFFERS

app = typer.Typer(rich_markup_mode=None)
model_app = typer.Typer(hidden=True, rich_markup_mode=None)
app.add_typer(model_app, name="model")

Frames = Annotated[int, typer.Option(help="Frames of a clip.")]
Size = Annotated[int, typer.Option(help="Side of the frames, px.")]
Classes = Annotated[int, typer.Option(min=2, help="Classes.")]
TimedOn = Annotated[str, typer.Option(help="cpu or cuda, to time on.")]


@app.command(epilog=examples("mer models", "mer models madv_net --frames 8 --size 64"))
def models(
    name: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]", help="Count and time this one.", show_default=False, autocompletion=OFFERS["model"]
        ),
    ] = None,
    frames: Frames = 16,
    size: Size = 112,
    classes: Classes = 5,
    device: TimedOn = "cpu",
    as_json: Json = False,
    models_dir: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """List the networks with parameters, inputs and paper; or count and time one of them for one clip."""
    if name and name[0] in ("list", "fetch", "path"):
        _old_weights_command(name, models_dir, as_json)
    elif name:
        _show_model(name[0], frames, size, classes, device, as_json)
    else:
        _list_models(as_json)


def _list_models(as_json: bool) -> None:
    from rich.table import Column, Table

    from training.models.registry import model_rows

    rows = model_rows()
    if as_json:
        print(json.dumps([asdict(row) for row in rows], ensure_ascii=False))
        return
    table = Table(Column("name", min_width=max(len(row.name) for row in rows)), "parameters", "inputs", "paper")
    for row in rows:
        table.add_row(row.name, f"{row.parameters / 1e6:.2f} M", ", ".join(row.inputs), row.paper)
    console().print(table)


def _show_model(name: str, frames: int, size: int, classes: int, device: str, as_json: bool) -> None:
    from training.models.registry import model_info, model_name

    info = model_info(model_name(name), classes=classes, frames=frames, size=size, action_units=20, device=device)
    if as_json:
        print(json.dumps(asdict(info)))
        return
    print(f"{info.name}: {info.parameters / 1e6:.2f} M parameters, {info.macs / 1e9:.2f} GMACs a clip")
    if info.printed_macs is not None:
        print(f"{info.printed_macs / 1e9:.2f} GMACs by the formula of its paper")
    print(f"{frames} frames of {size} px, {info.latency * 1e3:.0f} ms on {info.device} (one clip, float32)")


def _old_weights_command(words: list[str], models_dir: Path | None, as_json: bool) -> None:
    """Do what `mer weights list|fetch|path` does: the old spelling of version 0.1.0."""
    from pipeline.cli.weights import fetch, list_weights, path

    print(f"`mer models {words[0]}` is now `mer weights {words[0]}`", file=sys.stderr)
    if words[0] == "list":
        list_weights(as_json=as_json, models_dir=models_dir)
    elif words[0] == "fetch":
        fetch(names=words[1:], models_dir=models_dir)
    else:
        for name in words[1:]:
            path(name=name, models_dir=models_dir)


@model_app.command("info", hidden=True)
def model_info(
    name: Annotated[str, typer.Argument()] = "madv_net",
    frames: Frames = 16,
    size: Size = 112,
    classes: Classes = 5,
    device: TimedOn = "cpu",
    as_json: Json = False,
) -> None:
    """Count and time a network: the old spelling of `mer models NAME`, of version 0.1.0."""
    print("`mer model info` is now `mer models NAME`", file=sys.stderr)
    _show_model(name, frames, size, classes, device, as_json)


@model_app.callback()
def _model() -> None:
    pass
