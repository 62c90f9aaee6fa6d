"""Which dataset lies at a path, told by its content."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.clip.frames import VIDEO_SUFFIXES
from pipeline.clip.video_stream import printable
from pipeline.datasets.adapter import DATASETS, Adapter
from pipeline.datasets.clip_table import TABLE_SUFFIXES, scan_clip_table
from pipeline.datasets.image_trees import ImageTree
from pipeline.datasets.recordings import whole_recordings
from pipeline.datasets.synthetic import is_synthetic
from pipeline.datasets.tree import Tree, survey
from pipeline.datasets.video import scan_video_file
from schemas.clip import DatasetScan
from schemas.errors import AmbiguousDatasetError, DatasetNotFoundError

_SHOWN_NAMES = 12


def scan_dataset(
    root: Path, dataset: str | None = None, annotation: Path | None = None, *, long: bool = False
) -> tuple[Path, DatasetScan]:
    """Find the dataset at a path, and check its annotation against its files. No image is decoded.

    Args:
        root: the dataset's folder, the folder that this lies in, a folder of its images, a single video
            file, or a table of clips.
        dataset: a name in ``DATASETS``, to override detection.
        annotation: the dataset's spreadsheet, to override the search for it.
        long: whole recordings with the intervals of their expressions, instead of clips.

    Returns:
        The effective root, absolute, which all paths in the scan are relative to, and the scan. The root is the
        deepest folder that holds both annotation and images, hence the same for every way to pass a dataset.

    Raises:
        DatasetNotFoundError: no dataset that we know, an empty folder, a file that is no video, or nothing at all.
        AmbiguousDatasetError: several datasets; the message lists what to type.
        AnnotationError: the dataset's spreadsheet is missing or cannot be used.
        ConfigError: no such name.
    """
    base, scan = _scan(root, dataset, annotation, long=long)
    if long:
        scan = whole_recordings(base, scan)
    return base, scan.model_copy(update={"synthetic": is_synthetic(base, scan.clips)})


def _scan(root: Path, dataset: str | None, annotation: Path | None, *, long: bool) -> tuple[Path, DatasetScan]:
    adapters = [DATASETS[name] for name in (DATASETS.names() if dataset is None else [dataset])]
    for path in filter(None, (root.absolute(), annotation and annotation.absolute())):
        if (name := printable(path)) != str(path):
            raise DatasetNotFoundError(f"{name}: its name is not UTF-8; rename the file, or the folder that it is in")
    try:
        root.stat()
    except OSError as error:
        raise DatasetNotFoundError(f"{root}: no such file or folder ({error.strerror})") from error
    if root.suffix.lower() in TABLE_SUFFIXES and root.is_file() and dataset in (None, "clips"):
        return scan_clip_table(root.absolute())
    if not root.is_dir():
        if dataset not in (None, "video"):
            raise DatasetNotFoundError(f"{root}: a file; expected the folder of {adapters[0].facts.title}")
        return scan_video_file(root.absolute())
    tree = survey(root)
    if tree.root in tree.unreadable:
        raise DatasetNotFoundError(f"{root}: this folder cannot be listed; check its permissions")
    if tree.empty:
        raise DatasetNotFoundError(f"{root}: an empty folder; expected a dataset: {_known(adapters)}")
    if dataset == "video":
        return DATASETS["video"].scan(tree, (), None)
    found = [(adapter, trees) for adapter in adapters if (trees := adapter.find(tree))]
    if not found:
        raise DatasetNotFoundError(_not_found(tree, adapters))
    if len(found) > 1:
        raise AmbiguousDatasetError(_ambiguous(root, found))
    [(adapter, trees)] = found
    return (adapter.scan_recordings if long else adapter.scan)(tree, trees, annotation)


def _known(adapters: Iterable[Adapter]) -> str:
    return "; ".join(f"{adapter.facts.title}: {adapter.looks_for}" for adapter in adapters if adapter.looks_for)


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
        f"--dataset {adapter.facts.name}   ({adapter.facts.title}, {len(trees[0].clips)} clips in {trees[0].path})"
        for adapter, trees in found
    ]
    return "\n  ".join([f"{root}: several datasets; say which, by one of", *lines])
