"""What a training run will be, settled before anything is trained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from schemas.config import Device
from schemas.errors import ConfigError
from schemas.store.reader import Store
from training.config import TrainConfig
from training.data.clips import Clips, check_stores
from training.data.motion import stored_inputs
from training.fit.folder import Run, RunStore
from training.fit.initial_weights import read_initial_weights
from training.models.registry import create_model
from training.models.trained_model import SeenBefore
from training.protocols.protocol import Protocol, choose_protocol, default_protocol
from training.protocols.splits import Fold, make_folds
from training.protocols.tasks import LabelledClip, Selection, select_clips
from training.runs.leaks import pixels_of, refuse_seen, refuse_twins, sources_of, unknown
from training.runs.recipes import check_recipe
from training.runs.versions import git_revision, package_versions

_VALIDATION_SEED = 0  # the parts do not depend on the seeds of the run, so that these differ in training alone


@dataclass(frozen=True)
class PlannedRun:
    """A run, and the clips that it reads.

    Attributes:
        run: what is trained.
        stores: that hold the clips.
        clips: of all folds, in the order of their keys.
        selection: of the protocol's task, ``None`` where no labels are read.
        weights: file of weights that each seed starts from; empty: random ones.
        caveats: what cannot be known of pre-training, to stand beside the result.
    """

    run: Run
    stores: tuple[Store, ...]
    clips: Clips
    selection: Selection | None
    weights: Mapping[int, Path] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()


def plan_training(
    stores: Sequence[Store],
    config: TrainConfig,
    device: Device,
    *,
    protocol: Protocol | None = None,
    pretraining: Run | None = None,
    weights: Path | None = None,
) -> PlannedRun:
    """A run under a protocol.

    Args:
        stores: to train and test on.
        config: of the run.
        device: to train on.
        protocol: instead of the config's, which is its name.
        pretraining: run whose weights the folds start from.
        weights: file of the published ones that the config names, to see whether they fit.

    Raises:
        ConfigError: protocol, model, weights and stores do not fit together.
        ProtocolError: the stores do not hold the protocol's clips, or pre-training saw people under test.
    """
    manifests = [store.manifest for store in stores]
    if protocol is None:
        protocol = choose_protocol(config.protocol, manifests)
    selection = select_clips(protocol.task, manifests, counts=config.counts)
    folds = make_folds(protocol.split, selection.clips, validation=config.validation, seed=_VALIDATION_SEED)
    keys = [clip.key for clip in selection.clips]
    pixels = pixels_of(stores, keys)
    refuse_twins(pixels)
    history: tuple[SeenBefore, ...] = ()
    if pretraining is not None:
        history = pretraining.seen(pretraining.folds)
        refuse_seen(history, keys, pixels)
        _refuse_other_tools(pretraining, stores)
        config = config.model_copy(update={"pretrained": pretraining.sha256})
    config = config.model_copy(update={"protocol": protocol.name})  # not the path of a file
    starts = {} if weights is None else dict.fromkeys(config.seeds, weights.absolute())
    planned = _planned(stores, config, device, folds, protocol, selection, weights=starts)
    run = planned.run.model_copy(update={"history": history})
    return replace(planned, run=run, caveats=tuple(unknown(history, stores, pixels)))


def plan_supervised_pretraining(stores: Sequence[Store], config: TrainConfig, device: Device) -> PlannedRun:
    """One training on every labelled clip of the stores, with nothing to test: the paper's use of SMIC.

    What is not scored needs neither the published counts nor every class: it may be the macro-expressions of a store.
    """
    manifests = [store.manifest for store in stores]
    protocol = default_protocol(manifests)
    selection = select_clips(protocol.task, manifests, counts="any", scored=False)
    update = {"protocol": protocol.name, "validation": None}
    folds = (_everything(clip.key for clip in selection.clips),)
    return _planned(stores, config.model_copy(update=update), device, folds, protocol, selection)


def plan_self_supervised_pretraining(stores: Sequence[Store], config: TrainConfig, device: Device) -> PlannedRun:
    """One training on every clip of the stores, without labels, by masked frame differences."""
    keys = sorted(entry.key for store in stores for entry in store.manifest.rows if entry.status == "ok")
    if not keys:
        raise ConfigError(f"{', '.join(str(store.path) for store in stores)}: no clip to pre-train on")
    if twice := [key for key, following in pairwise(keys) if key == following]:
        raise ConfigError(f"{twice[0]} is in two of the stores; give one store a dataset")
    config = config.model_copy(update={"protocol": None, "validation": None})
    return _planned(stores, config, device, (_everything(keys),), None, None)


def _planned(
    stores: Sequence[Store],
    config: TrainConfig,
    device: Device,
    folds: Sequence[Fold],
    protocol: Protocol | None,
    selection: Selection | None,
    *,
    weights: Mapping[int, Path] | None = None,
) -> PlannedRun:
    """The run, once model, config, weights and stores are seen to fit."""
    action_units = stores[0].manifest.action_units.names
    model = create_model(
        config.model,
        classes=2,  # only to see whether model and options fit, and what it reads
        frames=config.frames,
        size=config.size,
        action_units=len(action_units),
        **config.model_options,
    )
    check_recipe(config, model)
    if model.solved:  # nothing is drawn: every seed would give the same
        config = config.model_copy(update={"seeds": config.seeds[:1]})
    for file in set((weights or {}).values()):
        read_initial_weights(file, config).load(model)
    inputs = stored_inputs(model.inputs, config.motion)
    check_stores(stores, size=config.size, inputs=inputs)
    learned = {key for fold in folds for key in fold.learned}
    if model.learns_codes and not any(
        entry.label.action_units for store in stores for entry in store.manifest.clips if entry.key in learned
    ):
        raise ConfigError(f"{config.model} is to learn annotated action units, and none of the clips has any")
    run = Run(
        config=config,
        objective="frame_difference" if protocol is None else "supervised",
        protocol=protocol,
        stores=tuple(
            RunStore(
                name=store.path.name,
                clips=len(store.manifest.clips),
                content_sha256=store.manifest.content_sha256,
                preprocess=store.manifest.provenance.config,
                synthetic=store.manifest.synthetic,
            )
            for store in stores
        ),
        action_units=action_units,
        folds=tuple(folds),
        device=device,
        packages=package_versions(),
        git=git_revision(),
        pixels=pixels_of(stores, learned),
        sources=sources_of(stores, learned),
        pseudonyms=any(store.manifest.pseudonyms for store in stores),
    )
    labelled = selection.clips if selection is not None else [LabelledClip(key, 0) for key in folds[0].train]
    clips = Clips(
        stores=tuple(store.path.absolute() for store in stores),
        contents=tuple(store.content_sha256 for store in run.stores),
        keys=tuple(clip.key for clip in labelled),
        labels=tuple(clip.label for clip in labelled),
        size=config.size,
        inputs=inputs,
    )
    return PlannedRun(run, tuple(stores), clips, selection, weights or {})


def _everything(keys: Iterable[str]) -> Fold:
    return Fold(name="all clips", train=tuple(keys), validation=None, test=())


def _refuse_other_tools(pretraining: Run, stores: Sequence[Store]) -> None:
    mine = stores[0].manifest.provenance.config
    for before in pretraining.stores:
        for name in ("depth", "au"):
            theirs, own = getattr(before.preprocess, name), getattr(mine, name)
            if theirs != own:
                raise ConfigError(
                    f"{before.name}, which was pre-trained on, has {name} by {theirs}, {stores[0].path} by {own}; one "
                    "model cannot read both: preprocess with equal backends"
                )
