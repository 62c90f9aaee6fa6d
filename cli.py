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

PIPELINE = "pipeline.cli"
TRAIN, RESULTS, VIDEOS, SPOTTING, WATCH, MODELS = (
    f"training.cli.{name}" for name in ("train", "results", "videos", "spotting", "watch", "models")
)


class Command(NamedTuple):
    """A command: its module, what the overview says of it, and two examples below its help."""

    module: str
    summary: str
    examples: tuple[str, str]


# Group -> command.
COMMANDS: dict[str, dict[str, Command]] = {
    "Data": {
        "scan": Command(
            PIPELINE,
            "Look at a raw dataset: clips, labels, every finding.",
            ("mer scan /data/CASME2", "mer scan clips.csv --template"),
        ),
        "preprocess": Command(
            PIPELINE,
            "Turn a raw dataset into a verified store.",
            ("mer preprocess /data/CASME2", "mer preprocess talk.mp4 -o talk.zarr --depth mesh --au mesh"),
        ),
        "synth": Command(
            PIPELINE,
            "Write a synthetic dataset on real faces, with its truth.",
            ("mer synth casme2 raw", "mer synth smic raw --subjects 5 --clips 6 --seed 1"),
        ),
        "weights": Command(
            PIPELINE,
            "List, fetch and locate the weights of neural networks.",
            ("mer weights list", "mer weights fetch depth-anything-v2-small --models-dir /data/models"),
        ),
        "demo": Command(
            PIPELINE,
            "Run all of it on synthetic clips and a real video.",
            ("mer demo", "mer demo -o /tmp/mer-demo"),
        ),
    },
    "Store": {
        "inspect": Command(
            PIPELINE,
            "Show what is in a store.",
            ("mer inspect casme2.zarr", "mer inspect estimated.zarr --depth-error measured.zarr"),
        ),
        "verify": Command(
            PIPELINE,
            "Check every byte of a store against its manifest.",
            ("mer verify casme2.zarr", "mer verify casme2.zip --deep"),
        ),
        "view": Command(
            RESULTS,
            "Look at clips in a browser, and at what a run answered.",
            ("mer view casme2.zarr --run RUN", "mer view casme2.zarr --port 5006 --no-browser"),
        ),
        "show": Command(
            PIPELINE,
            "Draw one clip.",
            (
                "mer show casme2.zarr casme2/sub01/EP02_01f",
                "mer show casme2.zarr casme2/sub01/EP02_01f --out clip.pdf",
            ),
        ),
        "diff": Command(
            PIPELINE,
            "Compare two stores.",
            ("mer diff casme2.zarr copy.zarr", "mer diff casme2.zarr s3://team/casme2.zarr --json"),
        ),
        "merge": Command(
            PIPELINE,
            "Make one store of several.",
            ("mer merge half.zarr other-half.zarr -o casme2.zarr", "mer merge casme2.zarr samm.zarr -o both.zarr"),
        ),
        "relabel": Command(
            PIPELINE,
            "Copy a store with other labels, and record the change.",
            (
                "mer relabel casme2.zarr labels.csv -o mended.zarr",
                "mer relabel casme2.zip labels.xlsx --out mended.zarr",
            ),
        ),
        "subset": Command(
            PIPELINE,
            "Copy some clips or arrays to a store of their own.",
            (
                "mer subset casme2.zarr -o happy.zarr --where 'emotion=happiness|surprise,frames>=16'",
                "mer subset casme2.zarr -o shared.zarr --without texture --anonymise",
            ),
        ),
    },
    "Share": {
        "push": Command(
            PIPELINE,
            "Publish a store at a URL or in a folder.",
            ("mer push casme2.zarr s3://team/casme2.zarr", "mer push casme2.zarr /mnt/share/casme2.zarr --yes"),
        ),
        "pull": Command(
            PIPELINE,
            "Fetch a store, checking every byte.",
            ("mer pull s3://team/casme2.zarr", "mer pull https://host/casme2.zip copy.zarr"),
        ),
        "pack": Command(
            PIPELINE,
            "Put a store into one zip file.",
            ("mer pack casme2.zarr", "mer pack casme2.zarr /mnt/share/casme2.zip"),
        ),
        "unpack": Command(
            PIPELINE,
            "Unpack a store from its zip file.",
            ("mer unpack casme2.zip", "mer unpack casme2.zip copy.zarr"),
        ),
        "cite": Command(
            PIPELINE,
            "Print a store's content id, terms and BibTeX.",
            ("mer cite casme2.zarr", "mer cite s3://team/casme2.zarr"),
        ),
    },
    "Train": {
        "train": Command(
            TRAIN,
            "Train and evaluate a model, without leaks.",
            (
                "mer train --store casme2.zarr --recipe fast",
                "mer train --store smic-hs.zarr --store casme2.zarr --store samm.zarr --protocol megc2019",
            ),
        ),
        "pretrain": Command(
            TRAIN,
            "Train a model without labels, for `mer train --pretrain`.",
            ("mer pretrain --store casme-sq.zarr", "mer pretrain --store casme-sq.zarr --recipe fast -o pretrained"),
        ),
        "ablate": Command(
            TRAIN,
            "Train a model again with each of its paths off.",
            ("mer ablate config.toml --store casme2.zarr", "mer ablate RUN --store casme2.zarr -o ablation"),
        ),
        "compare": Command(
            TRAIN,
            "Train many models under one protocol, and test the differences.",
            (
                "mer compare --store casme2.zarr --models all --protocol loso --seeds 3",
                "mer compare --store casme2.zarr --models madv_net,est,au-logistic --recipe fast --budget 2h",
            ),
        ),
        "evaluate": Command(
            RESULTS,
            "Score anybody's predictions.",
            (
                "mer evaluate predictions.csv --store casme2.zarr --protocol casme2-5/loso",
                "mer evaluate predictions.parquet --store casme2.zarr --partial --json",
            ),
        ),
        "models": Command(
            MODELS,
            "List the networks, or show one.",
            ("mer models", "mer models madv_net --frames 8 --size 64"),
        ),
    },
    "Results": {
        "report": Command(
            RESULTS,
            "Make the page and figures of a run again.",
            ("mer report RUN --store casme2.zarr", "mer report comparison/madv_net --store casme2.zarr"),
        ),
        "spot": Command(
            SPOTTING,
            "Where in long recordings expressions are.",
            ("mer spot long.zarr --out spotter", "mer spot talk.mp4 --like spotter --with RUN --out talk"),
        ),
        "watch": Command(
            WATCH,
            "Expressions as they happen, live from a camera.",
            ("mer watch 0 --like spotter", "mer watch rtsp://camera/live --like spotter --json --record seen.mkv"),
        ),
        "predict": Command(
            VIDEOS,
            "Class probabilities for new videos or a store.",
            ("mer predict RUN talk.mp4 --out talk", "mer predict RUN samm.zarr --out samm-answers"),
        ),
        "export": Command(
            RESULTS,
            "Write one model of a run as ONNX.",
            ("mer export RUN --onnx", "mer export RUN --onnx --fold sub01 --seed 0"),
        ),
    },
}
_RENAMED = {"model": MODELS}  # still works, says its new name, and is in no overview


class _Commands(TyperGroup):
    """Commands by name, each from its module when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        known = {name: command for group in COMMANDS.values() for name, command in group.items()}
        listed = known.get(cmd_name)
        if (module := listed.module if listed is not None else _RENAMED.get(cmd_name)) is None:
            return None
        command = typer.main.get_group(import_module(module).app).commands[cmd_name]
        if listed is not None:
            command.epilog = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in listed.examples)
        return command

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
