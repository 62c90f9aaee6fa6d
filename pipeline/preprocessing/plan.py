"""What a run will do, settled before anything is written."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.preprocessing.backends import Backends, locate_weights, with_runtime
from pipeline.preprocessing.cluster import choose_device
from pipeline.preprocessing.journal import JournalHeader
from schemas.clip import Clip, DatasetScan
from schemas.config import Execution, PreprocessConfig, canonical_sha256
from schemas.errors import ConfigError
from schemas.manifest import Provenance
from schemas.store.format import Dimensions

_PLAUSIBLE = 2  # times the longest clip on disk


@dataclass(frozen=True)
class Plan:
    """What a run will do: which clips, with which backends, into what."""

    root: Path
    out: Path
    scan: DatasetScan
    clips: tuple[Clip, ...]
    provenance: Provenance
    backends: Backends

    @cached_property
    def dimensions(self) -> Dimensions:
        """Lengths of the store's axes.

        The frame axis is as long as the longest clip, and has room for those that are incomplete today and may be
        mended. It ignores a length that only a typing error in the annotation can explain.
        """
        config = self.provenance.config
        lengths = [len(clip.source.numbers) for clip in self.clips if clip.source is not None]
        annotated = [c.offset - c.onset + 1 for c in self.clips if c.onset is not None and c.offset is not None]
        most = _PLAUSIBLE * max(lengths, default=0)
        lengths += [length for length in annotated if length <= most]
        longest = max(lengths, default=1)
        return Dimensions(
            clips=len(self.clips),
            frames=longest if config.frames is None else min(longest, config.frames),
            size=config.size,
            action_units=self.backends.action_units.names,
            depth=config.depth != "none",
            au_frames=config.au_frames == "all",
        )

    @property
    def header(self) -> JournalHeader:
        """What the journal of this run says of it."""
        keys = canonical_sha256([clip.key for clip in self.clips])
        return JournalHeader(provenance=self.provenance, keys_sha256=keys, frames=self.dimensions.frames)


def plan_run(root: Path, out: Path, scan: DatasetScan, config: PreprocessConfig, execution: Execution) -> Plan:
    """Select the clips and find the models, before anything is written.

    Raises:
        ConfigError: the selection matches nothing, or there is no such runtime of the depth model.
        WeightsUnavailableError: a model's weights are nowhere to be had.
    """
    clips = select(scan.clips, config)
    weights = locate_weights(config, execution.models_dir)  # before the device: PyTorch is slow to import
    device = choose_device(execution)
    config = with_runtime(config, device, here=execution.scheduler is None)
    backends = Backends(config, device, weights, execution.models_dir)
    provenance = Provenance(
        config=config,
        layout=scan.layout,
        annotation=scan.annotation,
        device=backends.device,
        packages=backends.packages,
        weights=tuple(located.record for located in backends.weights.values()),
        revisions=backends.revisions,
    )
    return Plan(root.absolute(), out.absolute(), scan, clips, provenance, backends)


def select(clips: tuple[Clip, ...], config: PreprocessConfig) -> tuple[Clip, ...]:
    """The clips that ``subjects``, ``clips`` and ``limit`` leave, in key order.

    Raises:
        ConfigError: a subject or clip that the dataset does not have, with those that it has.
    """
    known = {"subjects": {clip.subject for clip in clips}, "clips": {n for c in clips for n in (c.name, c.key)}}
    for option, wanted in (("subjects", config.subjects), ("clips", config.clips)):
        if unknown := [name for name in wanted if name not in known[option]]:
            some = ", ".join(sorted(known[option])[:20])
            raise ConfigError(f"--{option} {','.join(unknown)}: not in this dataset, which has {some}, ...")
    chosen = [
        clip
        for clip in sorted(clips, key=lambda clip: clip.key)
        if (not config.subjects or clip.subject in config.subjects)
        and (not config.clips or clip.name in config.clips or clip.key in config.clips)
    ]
    if not chosen:
        raise ConfigError("the dataset has no clips, or --subjects and --clips together leave none")
    return tuple(chosen[: config.limit])
