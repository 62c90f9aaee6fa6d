"""Plain videos without annotation: every video is a clip from its first frame to its last, without labels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.clip.frames import USUAL_VIDEOS
from pipeline.clip.video_facts import VideoFacts, examine_video
from pipeline.clip.video_stream import printable
from pipeline.datasets.adapter import DATASETS, Adapter
from pipeline.datasets.assemble import sort_clips
from pipeline.datasets.frame_files import is_video
from pipeline.datasets.image_trees import ImageTree
from pipeline.datasets.tree import Tree
from pipeline.datasets.video_findings import oddities
from schemas.clip import Clip, DatasetScan, Finding, FindingKind, VideoSegment
from schemas.datasets import FACTS
from schemas.errors import DatasetNotFoundError, FrameError
from schemas.labels import Label
from schemas.words import count

_FPS_UNKNOWN = 25.0
_SHOWN_NAMES = 12


def scan_video_file(path: Path) -> tuple[Path, DatasetScan]:
    """One video; its subject is named after it.

    Raises:
        DatasetNotFoundError: there is no such file, or it is no video.
    """
    if not path.exists():
        raise DatasetNotFoundError(f"{printable(path)}: no such file or folder")
    if not is_video(path.name):
        raise DatasetNotFoundError(
            f"{path}: a file, but no video ({USUAL_VIDEOS}); pass the dataset's folder, or a video"
        )
    clip = _clip(path, path.parent, path.stem, path.stem)
    if not clip.usable and clip.source is None:
        raise DatasetNotFoundError(clip.findings[0].message.replace(printable(path.name), printable(path), 1))
    return path.parent, _scan((clip,), "file")


def scan_video_folder(tree: Tree) -> tuple[Path, DatasetScan]:
    """Every video at and below the root, under the name of the folders between; directly in it, under its own.

    Raises:
        DatasetNotFoundError: there is none.
    """
    files = [folder.path / name for folder in tree.folders.values() for name in folder.files]
    paths = sorted(path for path in files if is_video(path.name))
    if not paths:
        raise DatasetNotFoundError(f"{tree.root}: no video ({USUAL_VIDEOS}) at or below this folder")
    others = [printable(path.relative_to(tree.root)) for path in files if not is_video(path.name)]
    notes = []
    if others:
        shown = ", ".join(others[:_SHOWN_NAMES]) + (
            f" and {len(others) - _SHOWN_NAMES} more" if len(others) > _SHOWN_NAMES else ""
        )
        notes.append(
            Finding(kind="no_video", clip=".", message=f"{count(len(others), 'file')} that cannot be a video: {shown}")
        )
    return tree.root, _scan(tuple(_clips(paths, tree.root)), "folder", tuple(notes))


def _clips(paths: Sequence[Path], root: Path) -> Iterator[Clip]:
    stems = Counter((path.parent, path.stem) for path in paths)
    for path in paths:
        subject = "_".join(path.parent.relative_to(root).parts) or path.stem
        name = path.stem if stems[path.parent, path.stem] == 1 else path.name  # a.mp4 beside a.avi
        yield _clip(path, root, subject, name)


def _clip(path: Path, root: Path, subject: str, name: str) -> Clip:
    relative = printable(path.relative_to(root).as_posix())
    subject, name = printable(subject), printable(name)
    clip = Clip(
        dataset="video", subject=subject, name=name, source=None, onset=None, apex=None, offset=None,
        fps=_FPS_UNKNOWN, label=Label(),
    )  # fmt: skip
    try:
        facts = examine_video(path)
    except FrameError as error:
        message = str(error).replace(printable(path), relative)
        return clip.model_copy(update={"findings": (_finding(clip, "no_frames", message, unusable=True),)})
    times = facts.times
    return clip.model_copy(
        update={
            "source": VideoSegment(path=relative, count=len(times)),
            "onset": 1,
            "offset": len(times),
            "fps": facts.fps or _FPS_UNKNOWN,
            "times": times if facts.varies else (),
            "findings": tuple(_findings(clip, relative, facts)),
        }
    )


def _findings(clip: Clip, path: str, facts: VideoFacts) -> Iterator[Finding]:
    if len(facts.times) == 1:
        yield _finding(clip, "single_frame", f"{path}: one frame only", unusable=True)
    elif not facts.fps:
        message = f"{path}: does not say its frames per second; taken as {_FPS_UNKNOWN:g}"
        yield _finding(clip, "fps_unknown", message)
    for kind, message in oddities(path, facts, facts.fps, range(len(facts.times))):
        yield _finding(clip, kind, message)


def _finding(clip: Clip, kind: FindingKind, message: str, *, unusable: bool = False) -> Finding:
    return Finding(kind=kind, clip=clip.key, message=message, unusable=unusable)


def _scan(clips: tuple[Clip, ...], layout: str, findings: tuple[Finding, ...] = ()) -> DatasetScan:
    return DatasetScan(dataset="video", layout=layout, annotation=None, clips=sort_clips(clips), findings=findings)


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
