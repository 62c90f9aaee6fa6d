"""What has been published of a model: its cost, and weights that it may start from."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

RESNET18_PARTS = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")

V = TypeVar("V")


@dataclass(frozen=True)
class PublishedCost:
    """Cost of one clip with 7 classes: Table 12 of MAE-DFER (Sun et al., ACM MM 2023), a survey of methods on DFEW.

    Attributes:
        frames: T of the clip.
        size: side of its frames, px.
        parameters: of the model, ``None`` where nobody published them.
        macs: multiply-accumulates of one forward pass, ``None`` likewise.
    """

    frames: int
    size: int
    parameters: float | None = None
    macs: float | None = None


def within(name: str, parts: Collection[str]) -> bool:
    """Whether a weight or buffer belongs to one of the submodules, or is one of the tensors, that are named."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


@dataclass(frozen=True)
class PublishedWeights:
    """One published file, and what a model takes from it. All else in the model starts fresh.

    Attributes:
        source: as `mer weights` calls the file.
        names: part of their network -> part of ours; all of the one is in the other.
        unused: parts of theirs that are left out: heads, decoders.
        endings: their ending of a name -> ours, where these differ.
    """

    source: str
    names: Mapping[str, str]
    unused: tuple[str, ...] = ()
    endings: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """What of our network is taken from the file."""
        return tuple(self.names.values())

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Those that are of no part of theirs."""
        return [name for name in names if not within(name, (*self.names, *self.unused))]

    def renamed(self, state: Mapping[str, V]) -> dict[str, V]:
        """What is taken of their state, by our names."""
        return {
            self._ending(ours + name.removeprefix(theirs)): value
            for theirs, ours in self.names.items()
            for name, value in state.items()
            if within(name, (theirs,))
        }

    def _ending(self, name: str) -> str:
        ending = next((ending for ending in self.endings if name.endswith(ending)), "")
        return name.removesuffix(ending) + self.endings.get(ending, "")


def resnet18(*parts: str) -> PublishedWeights:
    """ImageNet's ResNet-18 (torchvision's): what ``RESNET18_PARTS`` are in a model, in their order."""
    return PublishedWeights("resnet18-imagenet", dict(zip(RESNET18_PARTS, parts, strict=True)), unused=("fc",))
