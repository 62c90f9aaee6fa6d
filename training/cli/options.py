"""Options that several of the training commands take, and what becomes of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.options import Given, console, offered
from schemas.settings import assignments
from training.config import RecipeName, TrainConfig, TrainExecution

if TYPE_CHECKING:
    from pipeline.weights.locate import LocatedWeights
    from schemas.store.reader import Store
    from training.fit.folder import RunFolder
    from training.runs.folds import Resources

Stores = Annotated[list[str], typer.Option("--store", help="Store to train on; several for composite tasks.")]
Recipe = Annotated[
    RecipeName,
    typer.Option(help="paper; fast: small frames, few epochs; native: as the model's authors train it."),
]
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file that sets fields of the config; options win.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set any field of the config, such as optimisation.lr=1e-4."),
]
Seeds = Annotated[int | None, typer.Option(min=1, help="Runs with the random seeds 0, 1, ...  [default: by recipe]")]
Pretrain = Annotated[
    str | None, typer.Option(help="Store to learn from first (SMIC in the paper), or a run of `mer pretrain`.")
]
Weights = Annotated[
    str | None, typer.Option(help="Published weights to start from, as `mer weights list` names them, with commas.")
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Accept stores without the published number of clips; the result says so.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
TrainedRun = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `mer train`.")]
FoldName = Annotated[
    str | None, typer.Option("--fold", help="Take this fold alone.  [default: all; export: the first]")
]
SeedNumber = Annotated[
    int | None, typer.Option("--seed", help="Take this random seed alone.  [default: all; export: first]")
]


def _model_names(ctx: typer.Context) -> tuple[str, ...]:
    from training.models.registry import model_names

    return model_names()


def _protocol_names(ctx: typer.Context) -> tuple[str, ...]:
    from training.protocols.protocol import protocol_names

    return protocol_names()


OFFERS = {"model": offered(_model_names), "protocol": offered(_protocol_names)}  # what a shell completes


def config_of(
    recipe: RecipeName,
    file: Path | None,
    given: Given,
    assigned: Sequence[str] | None,
    *,
    seeds: int | None = None,
    partial: bool = False,
) -> TrainConfig:
    """The config of a training command: recipe, file, options, and ``--set`` last."""
    from schemas.settings import read_toml
    from training.runs.recipes import resolve

    fields = given_fields(given, seeds=seeds, partial=partial)
    return resolve(recipe, read_toml(file), fields, assignments(assigned or (), TrainConfig))


def given_fields(given: Given, *, seeds: int | None, partial: bool) -> dict[str, Any]:
    """Fields of the config that options set."""
    fields = dict(given.fields(TrainConfig))
    if seeds is not None:
        fields["seeds"] = tuple(range(seeds))
    if partial:
        fields["counts"] = "any"
    return fields


def published_weights(models: Sequence[str], weights: str | None, given: Given) -> "dict[str, LocatedWeights]":
    """Model -> the published weights, of those that were named, that it starts from."""
    from pipeline.weights.locate import locate
    from schemas.errors import ConfigError
    from training.models.registry import model_facts

    wanted = [] if weights is None else [name.strip() for name in weights.split(",")]
    chosen = {model: next((s for s in model_facts(model).sources if s in wanted), None) for model in models}
    if unused := [name for name in wanted if name not in chosen.values()]:
        known = {source for model in models for source in model_facts(model).sources}
        raise ConfigError(
            f"--weights {unused[0]}: {', '.join(models)} cannot start from them; "
            + (f"known are {', '.join(sorted(known))}" if known else "no weights are published for that")
        )
    folder = given.make(TrainExecution).models_dir
    return {model: locate(source, folder) for model, source in chosen.items() if source is not None}


def starting(config: TrainConfig, published: "Mapping[str, LocatedWeights]") -> tuple[TrainConfig, Path | None]:
    """The config of a model that starts from published weights, and their file."""
    found = published.get(config.model)
    if found is None:
        return config, None
    return config.model_copy(update={"published": found.record}), found.path


def resources_of(given: Given) -> "Resources":
    """Where a training command runs."""
    from pipeline.preprocessing.cluster import choose_device, connect
    from schemas.errors import ConfigError
    from training.fit.loggers import check_logger
    from training.runs.folds import Resources

    execution = given.make(TrainExecution)
    check_logger(execution.logger)
    chosen = choose_device(execution)
    if execution.together > 1 and (execution.workers or execution.scheduler):
        raise ConfigError("--together is of folds in one process; leave --workers and --scheduler out, or leave it out")
    if execution.together > 1 and chosen == "cpu":
        console().print("note --together helps on a GPU; on a CPU one fold after the other is faster", highlight=False)
    here = execution.together > 1 or (execution.workers == 0 and execution.scheduler is None)
    cluster = None if here else lambda folds: connect(execution, device=chosen, clips=folds)
    return Resources(
        device=chosen,
        cluster=cluster,
        cache=execution.cache,
        loaders=2,
        console=console(),
        logger=execution.logger,
        together=execution.together,
    )


def page_of(run: "RunFolder", stores: "Sequence[Store]") -> Path:
    """Write the page of a run, which knows from ``pipeline`` where action units act and what the depth is."""
    from pipeline.clip.mesh.regions import region_masks
    from pipeline.inspect.figures import depth_source
    from training.report.report import write_report

    return write_report(run, stores, regions=region_masks, depth_source=depth_source)
