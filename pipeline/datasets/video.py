"""Plain videos without annotation: every video is a clip from its first frame to its last, without labels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.clip.frames import VIDEO_SUFFIXES
from pipeline.datasets.adapter import DATASETS, Adapter
from pipeline.datasets.assemble import sort_clips
from pipeline.datasets.frame_files import count_frames, is_video
from pipeline.datasets.image_trees import ImageTree
from pipeline.datasets.tree import Tree
from schemas.clip import Clip, DatasetScan, Finding, VideoSegment
from schemas.datasets import FACTS
from schemas.errors import DatasetNotFoundError
from schemas.labels import Label

_FPS_UNKNOWN = 25.0


def scan_video_file(path: Path) -> tuple[Path, DatasetScan]:
    """One video; its subject is named after it.

    Raises:
        DatasetNotFoundError: the file is no video.
    """
    if not is_video(path.name):
        raise DatasetNotFoundError(
            f"{path}: a file, but no video ({', '.join(sorted(VIDEO_SUFFIXES))}); pass the dataset's folder, or a video"
        )
    clip = _clip(path, path.parent, path.stem, path.stem)
    if not clip.usable and clip.source is None:
        raise DatasetNotFoundError(
            f"{path}: not a video that OpenCV can decode; check the file, or convert it to mp4 or avi"
        )
    return path.parent, _scan((clip,), "file")


def scan_video_folder(tree: Tree) -> tuple[Path, DatasetScan]:
    """Every video at and below the root, under the name of the folders between; directly in it, under its own.

    Raises:
        DatasetNotFoundError: there is none.
    """
    paths = sorted(folder.path / name for folder in tree.folders.values() for name in folder.videos)
    if not paths:
        raise DatasetNotFoundError(
            f"{tree.root}: no video ({', '.join(sorted(VIDEO_SUFFIXES))}) at or below this folder"
        )
    return tree.root, _scan(tuple(_clips(paths, tree.root)), "folder")


def _clips(paths: Sequence[Path], root: Path) -> Iterator[Clip]:
    stems = Counter((path.parent, path.stem) for path in paths)
    for path in paths:
        subject = "_".join(path.parent.relative_to(root).parts) or path.stem
        name = path.stem if stems[path.parent, path.stem] == 1 else path.name  # a.mp4 beside a.avi
        yield _clip(path, root, subject, name)


def _clip(path: Path, root: Path, subject: str, name: str) -> Clip:
    count, fps = count_frames(path)
    relative = path.relative_to(root).as_posix()
    key = f"video/{subject}/{name}"
    findings = []
    if count == 0:
        message = f"{relative}: not a video that can be decoded"
        findings.append(Finding(kind="no_frames", clip=key, message=message, unusable=True))
    elif count == 1:
        findings.append(Finding(kind="single_frame", clip=key, message=f"{relative}: one frame only", unusable=True))
    elif not fps:
        message = f"{relative}: does not say its frames per second; taken as {_FPS_UNKNOWN:g}"
        findings.append(Finding(kind="fps_unknown", clip=key, message=message))
    return Clip(
        dataset="video",
        subject=subject,
        name=name,
        source=VideoSegment(path=relative, count=count) if count else None,
        onset=1 if count else None,
        apex=None,
        offset=count or None,
        fps=fps or _FPS_UNKNOWN,
        label=Label(),
        findings=tuple(findings),
    )


def _scan(clips: tuple[Clip, ...], layout: str) -> DatasetScan:
    return DatasetScan(dataset="video", layout=layout, annotation=None, clips=sort_clips(clips))


class _Videos(Adapter):
    """Only when asked for by name: it would take every folder with a video in it."""

    facts, looks_for = FACTS["video"], ""

    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Nothing by itself."""
        return ()

    def scan(self, tree: Tree, trees: Sequence[ImageTree], annotation: Path | None) -> tuple[Path, DatasetScan]:
        """Every video."""
        return scan_video_folder(tree)


DATASETS.register("video")(_Videos())
