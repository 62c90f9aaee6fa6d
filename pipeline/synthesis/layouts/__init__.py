"""Write synthetic recordings as the real datasets lie on disk: the exact reverse of ``pipeline.datasets``."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.synthesis.layouts.casme2 import Casme2Writer
from pipeline.synthesis.layouts.casme3 import Casme3Writer
from pipeline.synthesis.layouts.casme_sq import CasmeSqWriter
from pipeline.synthesis.layouts.samm import SammWriter
from pipeline.synthesis.layouts.smic import SmicWriter
from pipeline.synthesis.layouts.writer import LayoutWriter, SyntheticClip
from schemas.errors import ConfigError

__all__ = ["SYNTHETIC", "SyntheticClip", "write_dataset"]


SYNTHETIC: dict[str, type[LayoutWriter]] = {
    "samm": SammWriter,
    "casme2": Casme2Writer,
    "casme-sq": CasmeSqWriter,
    "casme3": Casme3Writer,
    "smic": SmicWriter,
}


def write_dataset(
    dataset: str,
    out: Path,
    clips: Iterable[SyntheticClip],
    *,
    layout: str | None = None,
    quirks: bool = False,
    seed: int = 0,
) -> list[str]:
    """Write clips below ``out`` in a dataset's own layout, with its spreadsheet.

    Clips are taken one by one, so that an iterator may generate each when it is asked for.
    Several layouts of one dataset may be written into one ``out`` with equal clips and seed.

    Args:
        dataset: ``samm``, ``casme2``, ``casme-sq``, ``casme3`` or ``smic``.
        out: becomes the dataset root.
        clips: recordings; their positions must satisfy ``0 <= onset <= apex <= offset < len(frames)``.
        layout: one of ``SYNTHETIC[dataset].layouts``; the first by default.
        quirks: add the oddities of the real distribution, from one clip to the next, and folders and rows beside them.
        seed: of frame numbers and spelling; equal clips and seeds give equal bytes.

    Returns:
        The key ``dataset/subject/clip`` of each clip, in the order of ``clips``.

    Raises:
        ConfigError: the dataset has no such layout, subject or emotion, or the positions are out of order.
    """
    if dataset not in SYNTHETIC:
        raise ConfigError(f"no synthetic dataset {dataset!r}; known: {', '.join(SYNTHETIC)}")
    known = SYNTHETIC[dataset]
    layout = known.layouts[0] if layout is None else layout
    if layout not in known.layouts:
        raise ConfigError(f"{dataset} has no layout {layout!r}; known: {', '.join(known.layouts)}")
    writer = known(out, layout, quirks=quirks, seed=seed)
    try:
        return [writer.write(_checked(clip, dataset)) for clip in clips]
    finally:
        writer.close()


def _checked(clip: SyntheticClip, dataset: str) -> SyntheticClip:
    known = SYNTHETIC[dataset]
    where = f"{dataset}, subject {clip.subject}, clip {clip.index}"
    if not 0 <= clip.subject < len(known.subjects):
        raise ConfigError(f"{where}: the dataset has {len(known.subjects)} subjects, numbered from 0 here")
    if clip.emotion not in known.emotions:
        raise ConfigError(f"{where}: no emotion {clip.emotion!r} in this dataset; it has {', '.join(known.emotions)}")
    if not 0 <= clip.onset <= clip.apex <= clip.offset < len(clip.frames):
        raise ConfigError(
            f"{where}: expected 0 <= onset <= apex <= offset < {len(clip.frames)} frames, "
            f"found {clip.onset}, {clip.apex}, {clip.offset}"
        )
    return clip
