"""Which dataset lies at a path, told by its content."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.clip.frames import VIDEO_SUFFIXES
from pipeline.datasets.adapter import Adapter
from pipeline.datasets.casme2 import CASME2
from pipeline.datasets.casme_sq import CASME_SQ
from pipeline.datasets.image_trees import ImageTree
from pipeline.datasets.samm import SAMM
from pipeline.datasets.smic import SMIC
from pipeline.datasets.smic_e import SMIC_E
from pipeline.datasets.tree import Tree, survey
from pipeline.datasets.video import scan_video_file, scan_video_folder
from schemas.clip import DatasetScan
from schemas.errors import AmbiguousDatasetError, ConfigError, DatasetNotFoundError

_SHOWN_NAMES = 12

VIDEO = Adapter(
    name="video",
    title="plain videos",
    looks_for="videos without annotation",
    find=lambda _: (),  # never by itself: it would take every folder with a video in it
    scan=lambda tree, _: scan_video_folder(tree),
)
DATASETS: dict[str, Adapter] = {adapter.name: adapter for adapter in (SAMM, CASME2, CASME_SQ, *SMIC, *SMIC_E, VIDEO)}


def scan_dataset(root: Path, dataset: str | None = None) -> tuple[Path, DatasetScan]:
    """Find the dataset at a path, and check its annotation against its files. No image is decoded.

    Args:
        root: the dataset's folder, the folder that this lies in, a folder of its images, or a single video file.
        dataset: a name in ``DATASETS``, to override detection.

    Returns:
        The effective root, absolute, which all paths in the scan are relative to, and the scan. The root is the
        deepest folder that holds both annotation and images, hence the same for every way to pass a dataset.

    Raises:
        DatasetNotFoundError: no dataset that we know, an empty folder, a file that is no video, or nothing at all.
        AmbiguousDatasetError: several datasets; the message lists what to type.
        AnnotationError: the dataset's spreadsheet is missing or cannot be used.
        ConfigError: no such name.
    """
    if dataset is not None and dataset not in DATASETS:
        raise ConfigError(f"no dataset is called {dataset!r}; known: {', '.join(DATASETS)}")
    try:
        root.stat()
    except OSError as error:
        raise DatasetNotFoundError(f"{root}: no such file or folder ({error.strerror})") from error
    if not root.is_dir():
        if dataset not in (None, "video"):
            raise DatasetNotFoundError(f"{root}: a file; expected the folder of {DATASETS[dataset].title}")
        return scan_video_file(root.absolute())
    tree = survey(root)
    if tree.root in tree.unreadable:
        raise DatasetNotFoundError(f"{root}: this folder cannot be listed; check its permissions")
    if tree.empty:
        raise DatasetNotFoundError(f"{root}: an empty folder; expected a dataset: {_known(DATASETS.values())}")
    if dataset == "video":
        return scan_video_folder(tree)
    adapters = [adapter for adapter in DATASETS.values() if dataset in (None, adapter.name)]
    found = [(adapter, trees) for adapter in adapters if (trees := adapter.find(tree))]
    if not found:
        raise DatasetNotFoundError(_not_found(tree, adapters))
    if len(found) > 1:
        raise AmbiguousDatasetError(_ambiguous(root, found))
    [(adapter, trees)] = found
    return adapter.scan(tree, trees)


def _known(adapters: Iterable[Adapter]) -> str:
    return "; ".join(f"{adapter.title}: {adapter.looks_for}" for adapter in adapters if adapter is not VIDEO)


def _not_found(tree: Tree, adapters: Sequence[Adapter]) -> str:
    top = tree.folders[tree.root]
    names = [*(f"{name}/" for name in top.folders), *top.files]
    more = f", and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    files = [name for folder in tree.folders.values() for name in folder.files]
    suffixes = Counter(Path(name).suffix.lower() or "no suffix" for name in files).most_common(5)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes)
    videos = any(suffix in VIDEO_SUFFIXES for suffix, _ in suffixes)
    advice = "; for videos without annotation add --dataset video" if videos else ""
    found = f"{len(tree.folders) - 1} folders, {len(files)} files ({kinds})"
    return (
        f"{tree.root}: no dataset found. Looked for {_known(adapters)}. "
        f"Seen: {', '.join(names[:_SHOWN_NAMES])}{more}; {found}{advice}"
    )


def _ambiguous(root: Path, found: Sequence[tuple[Adapter, Sequence[ImageTree]]]) -> str:
    lines = [
        f"--dataset {adapter.name}   ({adapter.title}, {len(trees[0].clips)} clips in {trees[0].path})"
        for adapter, trees in found
    ]
    return "\n  ".join([f"{root}: several datasets; say which, by one of", *lines])
