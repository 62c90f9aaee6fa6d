"""The command ``mer``: which command stands in which module, exit codes, and nothing else.

A command's module is imported when the command is called, so that ``mer --help`` answers at once.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

EXIT_CODES = {
    0: "all is well",
    1: "some clips or folds failed, or a store is damaged; a table names them",
    2: "wrong usage or input, or an output that cannot be written; nothing was lost",
    3: "the cluster was lost; what is finished is safe, type the same command again",
    130: "interrupted; what is finished is safe, type the same command again",
}

PIPELINE, TRAINING = "pipeline.cli", "training.cli"

# Group -> command -> its module, and what the overview says of it.
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Data": {
        "scan": (PIPELINE, "Look at a raw dataset: clips, labels, every finding."),
        "preprocess": (PIPELINE, "Turn a raw dataset into a verified store."),
        "synth": (PIPELINE, "Write a synthetic dataset on real faces, with its truth."),
        "weights": (PIPELINE, "List, fetch and locate the weights of neural networks."),
        "demo": (PIPELINE, "Run all of it on synthetic clips and a real video."),
    },
    "Store": {
        "inspect": (PIPELINE, "Show what is in a store."),
        "verify": (PIPELINE, "Check every byte of a store against its manifest."),
        "view": (TRAINING, "Look at clips in a browser, and at what a run answered."),
        "show": (PIPELINE, "Draw one clip."),
        "diff": (PIPELINE, "Compare two stores."),
        "merge": (PIPELINE, "Make one store of several."),
        "relabel": (PIPELINE, "Copy a store with other labels, and record the change."),
        "subset": (PIPELINE, "Copy some clips or arrays to a store of their own."),
    },
    "Share": {
        "push": (PIPELINE, "Publish a store at a URL or in a folder."),
        "pull": (PIPELINE, "Fetch a store, checking every byte."),
        "pack": (PIPELINE, "Put a store into one zip file."),
        "unpack": (PIPELINE, "Unpack a store from its zip file."),
        "cite": (PIPELINE, "Print a store's content id, terms and BibTeX."),
    },
    "Train": {
        "train": (TRAINING, "Train and evaluate a model, without leaks."),
        "pretrain": (TRAINING, "Train a model without labels, for `mer train --pretrain`."),
        "ablate": (TRAINING, "Train a model again with each of its paths off."),
        "compare": (TRAINING, "Train many models under one protocol, and test the differences."),
        "evaluate": (TRAINING, "Score anybody's predictions."),
        "models": (TRAINING, "List the networks, or show one."),
    },
    "Results": {
        "report": (TRAINING, "Make the page and figures of a run again."),
        "spot": (TRAINING, "Where in long recordings expressions are."),
        "predict": (TRAINING, "Class probabilities for new videos or a store."),
        "export": (TRAINING, "Write one model of a run as ONNX."),
    },
}
_RENAMED = {"model": TRAINING}  # still works, says its new name, and is in no overview


class _Commands(TyperGroup):
    """Commands by name, each from its module when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        modules = {name: module for group in COMMANDS.values() for name, (module, _) in group.items()} | _RENAMED
        if cmd_name not in modules:
            return None
        area = typer.main.get_group(import_module(modules[cmd_name]).app)
        return area.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, group in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, summary) for name, (_, summary) in group.items()])


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
