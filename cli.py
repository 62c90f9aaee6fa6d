"""The command ``mer``: which command stands in which module, exit codes, and nothing else.

A command's module is imported when the command is called, so that ``mer --help`` answers at once.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

EXIT_CODES = {
    0: "all is well",
    1: "some clips or folds failed, or a store is damaged; a table names them",
    2: "wrong usage or input, or an output that cannot be written; nothing was lost",
    3: "the cluster was lost; what is finished is safe, type the same command again",
    130: "interrupted; what is finished is safe, type the same command again",
}


class Command(NamedTuple):
    """A command: its module, and what the overview says of it."""

    module: str
    summary: str


# Group -> command. Examples stand beside the commands.
COMMANDS: dict[str, dict[str, Command]] = {
    "Data": {
        "scan": Command("pipeline.cli.datasets", "Look at a raw dataset: clips, labels, every finding."),
        "preprocess": Command("pipeline.cli.datasets", "Turn a raw dataset into a verified store."),
        "synth": Command("pipeline.cli.synthesis", "Write a synthetic dataset on real faces, with its truth."),
        "weights": Command("pipeline.cli.weights", "List, fetch and locate the weights of neural networks."),
        "demo": Command("pipeline.cli.synthesis", "Run all of it on synthetic clips and a real video."),
    },
    "Store": {
        "inspect": Command("pipeline.cli.inspection", "Show what is in a store."),
        "verify": Command("pipeline.cli.inspection", "Check every byte of a store against its manifest."),
        "view": Command("training.cli.results", "Look at clips in a browser, and at what a run answered."),
        "show": Command("pipeline.cli.inspection", "Draw one clip."),
        "diff": Command("pipeline.cli.inspection", "Compare two stores."),
        "merge": Command("pipeline.cli.copies", "Make one store of several."),
        "relabel": Command("pipeline.cli.copies", "Copy a store with other labels, and record the change."),
        "subset": Command("pipeline.cli.copies", "Copy some clips or arrays to a store of their own."),
    },
    "Share": {
        "push": Command("pipeline.cli.sharing", "Publish a store at a URL or in a folder."),
        "pull": Command("pipeline.cli.sharing", "Fetch a store, checking every byte."),
        "pack": Command("pipeline.cli.sharing", "Put a store into one zip file."),
        "unpack": Command("pipeline.cli.sharing", "Unpack a store from its zip file."),
        "cite": Command("pipeline.cli.sharing", "Print a store's content id, terms and BibTeX."),
    },
    "Train": {
        "train": Command("training.cli.train", "Train and evaluate a model, without leaks."),
        "pretrain": Command("training.cli.train", "Train a model without labels, for `mer train --pretrain`."),
        "ablate": Command("training.cli.train", "Train a model again with each of its paths off."),
        "compare": Command("training.cli.train", "Train many models under one protocol, and test the differences."),
        "evaluate": Command("training.cli.results", "Score anybody's predictions."),
        "models": Command("training.cli.models", "List the networks, or show one."),
    },
    "Results": {
        "report": Command("training.cli.results", "Make the page and figures of a run again."),
        "spot": Command("training.cli.spotting", "Where in long recordings expressions are."),
        "watch": Command("training.cli.watch", "Expressions as they happen, live from a camera."),
        "predict": Command("training.cli.videos", "Class probabilities for new videos or a store."),
        "export": Command("training.cli.results", "Write one model of a run as ONNX."),
    },
}
_RENAMED = {"model": "training.cli.models"}  # still works, says its new name, and is in no overview


class _Commands(TyperGroup):
    """Commands by name, each from its module when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        known = {name: command for group in COMMANDS.values() for name, command in group.items()}
        module = known[cmd_name].module if cmd_name in known else _RENAMED.get(cmd_name)
        return typer.main.get_group(import_module(module).app).commands[cmd_name] if module else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, group in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, command.summary) for name, command in group.items()])


app = typer.Typer(
    cls=_Commands,
    name="mer",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich's Markdown takes longer than all the rest of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mer {version('madv-mer')}")
        raise typer.Exit


@app.callback()
def _mer(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Micro-expression recognition: raw dataset -> verified store -> result that can be trusted."""


def main() -> None:
    """Entry point: errors meant for the user are printed without a traceback; ``EXIT_CODES`` says what codes mean."""
    try:
        import_module("madv_mer")  # which looks whether another module has the name of one of ours
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    try:
        app()
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from error
    except Exception as error:
        from schemas.errors import MerError
        from schemas.output import write_error

        if isinstance(error, OSError) and not isinstance(error, MerError):
            error = write_error(error.filename or "the output", error)
        if not isinstance(error, MerError):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
