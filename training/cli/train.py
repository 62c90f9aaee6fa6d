"""`mer train`, `pretrain`, `ablate`, `compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from schemas.options import Given, console, examples, options
from schemas.settings import assignments
from training.cli.options import (
    OFFERS,
    Assignments,
    ConfigFile,
    Overwrite,
    Partial,
    Pretrain,
    Recipe,
    Seeds,
    Stores,
    Weights,
    config_of,
    given_fields,
    page_of,
    published_weights,
    resources_of,
    starting,
)
from training.config import TrainConfig, TrainExecution

if TYPE_CHECKING:
    from schemas.manifest import Manifest
    from schemas.store.location import StoreLocation
    from schemas.store.reader import Store
    from training.runs.train import TrainedRun as Trained

app = typer.Typer(rich_markup_mode=None)

_SWITCHES = ("depth", "au", "discard", "stage-heads", "frame-difference")


class _Train(TyperCommand):
    """Says what the switches of MADV-Net, which `mer train` had until version 0.1, are called now."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for word in args:
            name = word.removeprefix("--").removeprefix("no-")
            if word.startswith("--") and name in _SWITCHES:
                value = "false" if word.startswith("--no-") else "true"
                ctx.fail(f"{word} is now: --set model_options.{name.replace('-', '_')}={value}")
        return super().parse_args(ctx, args)


@app.command(
    cls=_Train,
    epilog=examples(
        "mer train --store casme2.zarr --recipe fast",
        "mer train --store smic-hs.zarr --store casme2.zarr --store samm.zarr --protocol megc2019",
    ),
)
@options(
    TrainConfig,
    "model",
    "protocol",
    "motion",
    "frames",
    "size",
    "optimisation.epochs",
    "validation",
    "sampling",
    "amp",
    default="by recipe",
    complete=OFFERS,
)
@options(TrainExecution)
def train(
    store: Stores,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder to write.  [default: <model>-<stores>]")
    ] = None,
    recipe: Recipe = "paper",
    config: ConfigFile = None,
    assigned: Assignments = None,
    seeds: Seeds = None,
    pretrain: Pretrain = None,
    weights: Weights = None,
    partial: Partial = False,
    overwrite: Overwrite = False,
    *,
    given: Given,
) -> None:
    """Train and evaluate a model, without leaks. Killed half way, the same command goes on."""
    from schemas.store.location import located

    manifests = _manifests_that_fit(store, config, given, assigned, partial=partial)
    resolved = config_of(recipe, config, given, assigned, seeds=seeds, partial=partial)
    places = [located(place) for place in store]
    default = Path("-".join([resolved.model, *(Path(place.name).stem for place in places)]))
    from schemas.store.reader import Store

    stores = list(map(Store, places, manifests)) if manifests else places  # a large manifest takes seconds to read
    trained, page = train_and_report(
        stores, resolved, given, out=out or default, pretrain=pretrain, weights=weights, overwrite=overwrite
    )
    if trained.result is None:
        print(f"open {page}")
        raise typer.Exit(1)
    from training.evaluation.terminal import evaluation_report

    console().print(evaluation_report(trained.result))
    print(f"{trained.folder.path}: complete; open {page}")


def _manifests_that_fit(
    places: Sequence[str], file: Path | None, given: Given, assigned: Sequence[str] | None, *, partial: bool
) -> "list[Manifest]":
    """Refuse a protocol that does not fit the stores, which needs nothing of what takes long to load.

    Returns:
        The manifests of the stores; none where something else is wrong, which is said later.

    Raises:
        ConfigError: no such protocol, or a store that it is not about.
        ProtocolError: the stores do not hold its clips.
    """
    from schemas.errors import StoreError
    from schemas.settings import read_toml
    from schemas.store.location import located
    from schemas.store.manifest_file import read_manifest
    from training.protocols.protocol import choose_protocol
    from training.protocols.tasks import Counts, select_clips

    options_of = given_fields(given, seeds=None, partial=partial)
    fields = {**read_toml(file), **options_of, **assignments(assigned or (), TrainConfig)}
    name, counts = fields.get("protocol"), fields.get("counts", "published")
    if (name is None or isinstance(name, str)) and counts in get_args(Counts):  # the rest is refused with the config
        try:
            manifests = [read_manifest(located(place)) for place in places]
        except StoreError:
            return []  # said when the config has been looked at
        select_clips(choose_protocol(name, manifests).task, manifests, counts=counts)
        return manifests
    return []


def train_and_report(
    stores: "Sequence[StoreLocation | Store]",
    config: TrainConfig,
    given: Given,
    *,
    out: Path,
    pretrain: str | None,
    weights: str | None,
    overwrite: bool,
) -> "tuple[Trained, Path]":
    """Train as `mer train` does, and make the page of the run; arguments as of its options."""
    from schemas.store.location import located
    from training.runs.train import train as run

    resources = resources_of(given)
    config, published = starting(config, published_weights([config.model], weights, given))
    trained = run(
        stores,
        config,
        resources,
        out=out,
        pretrain=located(pretrain) if pretrain else None,
        published=published,
        overwrite=overwrite,
    )
    return trained, page_of(trained.folder, trained.stores)


@app.command(
    epilog=examples(
        "mer pretrain --store casme-sq.zarr", "mer pretrain --store casme-sq.zarr --recipe fast -o pretrained"
    )
)
@options(
    TrainConfig, "model", "motion", "frames", "size", "optimisation.epochs", "amp", default="by recipe", complete=OFFERS
)
@options(TrainExecution)
def pretrain(
    store: Stores,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")] = Path("pretrained"),
    recipe: Recipe = "paper",
    config: ConfigFile = None,
    assigned: Assignments = None,
    seeds: Seeds = None,
    overwrite: Overwrite = False,
    *,
    given: Given,
) -> None:
    """Train a model without labels to say how hidden blocks of a face moved, for `mer train --pretrain`."""
    from schemas.store.location import located
    from training.runs.train import pretrain as run

    resolved, resources = config_of(recipe, config, given, assigned, seeds=seeds), resources_of(given)
    if run([located(place) for place in store], resolved, resources, out=out, overwrite=overwrite).failures:
        raise typer.Exit(1)
    resources.say(f"{out}: complete; next: mer train --store OTHER.zarr --pretrain {out}")


@app.command(
    epilog=examples("mer ablate config.toml --store casme2.zarr", "mer ablate RUN --store casme2.zarr -o ablation")
)
@options(TrainExecution)
def ablate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, as of `mer train`, or a run folder.")],
    store: Stores,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of a run for each variant.")] = Path("ablation"),
    recipe: Recipe = "paper",
    assigned: Assignments = None,
    pretrain: Pretrain = None,
    overwrite: Overwrite = False,
    *,
    given: Given,
) -> None:
    """Train a model again with each of its paths switched off, and say what each is worth."""
    from schemas.store.location import located
    from training.evaluation.terminal import ablation_report
    from training.fit.folder import RUN_FILE, RunFolder
    from training.runs.ablate import ablate as run
    from training.runs.recipes import resolve

    if (config / RUN_FILE).is_file():
        before = RunFolder(config).read()
        fields = before.config.model_dump(mode="json", exclude={"pretrained"})
        protocol, resolved = before.protocol, resolve("paper", fields, assignments(assigned or (), TrainConfig))
    else:
        protocol, resolved = None, config_of(recipe, config, given, assigned)
    resources = resources_of(given)
    runs, table = run(
        [located(place) for place in store],
        resolved,
        resources,
        out=out,
        protocol=protocol,
        pretrain=located(pretrain) if pretrain else None,
        overwrite=overwrite,
    )
    full, *_ = [page_of(trained.folder, trained.stores) for trained in runs]
    if table is None:
        raise typer.Exit(1)
    resources.console.print(ablation_report(table))
    resources.say(f"{out}: complete; open {full}")


@app.command(
    epilog=examples(
        "mer compare --store casme2.zarr --models all --protocol loso --seeds 3",
        "mer compare --store casme2.zarr --models madv_net,est,au-logistic --recipe fast --budget 2h",
    )
)
@options(TrainConfig, "protocol", "motion", "frames", "size", "amp", default="by recipe", complete=OFFERS)
@options(TrainExecution)
def compare(
    store: Stores,
    models: Annotated[
        str, typer.Option(help="all, or names with commas: madv_net,c3d,stt.", autocompletion=OFFERS["model"])
    ] = "all",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the comparison and its runs.")] = Path(
        "comparison"
    ),
    recipe: Recipe = "paper",
    budget: Annotated[
        str | None, typer.Option(help="Equal updates for all models: epochs (20), or what a time allows (45m, 2h).")
    ] = None,
    config: ConfigFile = None,
    assigned: Assignments = None,
    seeds: Seeds = None,
    weights: Weights = None,
    partial: Partial = False,
    overwrite: Overwrite = False,
    *,
    given: Given,
) -> None:
    """Train and evaluate many models under one protocol, and test their differences."""
    from schemas.settings import read_toml
    from schemas.store.location import located
    from schemas.store.reader import Store
    from training.evaluation.terminal import comparison_report
    from training.report.comparison import write_comparison
    from training.runs.budget import Budget
    from training.runs.compare import compare as run
    from training.runs.compare import configs_of
    from training.runs.recipes import over

    fields = over(given_fields(given, seeds=seeds, partial=partial), assignments(assigned or (), TrainConfig))
    configs = configs_of(models, recipe, read_toml(config), fields)
    published = published_weights(list(configs), weights, given)
    started = {name: starting(resolved, published) for name, resolved in configs.items()}
    resources = resources_of(given)
    result = run(
        [located(place) for place in store],
        {name: resolved for name, (resolved, _) in started.items()},
        resources,
        out=out,
        published={name: file for name, (_, file) in started.items() if file is not None},
        recipe=recipe,
        budget=None if budget is None else Budget.parse(budget),
        overwrite=overwrite,
    )
    if result is None:
        raise typer.Exit(1)
    page = write_comparison(out, result, stores=[Store.open(place) for place in store])
    resources.console.print(comparison_report(result))
    resources.say(f"{out}: complete; open {page}")
    raise typer.Exit(1 if any(model.failure for model in result.models) else 0)
