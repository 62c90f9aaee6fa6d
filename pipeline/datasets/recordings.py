"""From clips to whole recordings: ``--long`` keeps every frame, and the expressions become intervals."""

from collections import Counter
from pathlib import Path

from pipeline.clip.video_facts import VideoFacts, examine_video
from pipeline.datasets.assemble import sort_clips
from pipeline.datasets.frame_files import index_frames, is_image, is_video
from schemas.clip import Clip, DatasetScan, ExpressionInterval, Finding, FrameSource, ImageSequence, VideoSegment
from schemas.datasets import FACTS
from schemas.errors import DatasetNotFoundError, FrameError
from schemas.labels import ExpressionType, Label

_LONGEST_MICRO = 0.5  # s (Yan et al., Journal of Nonverbal Behavior 37, 2013)
_FREE = ("clips", "video")  # anybody's: names are those of the files, and types follow from lengths


def whole_recordings(root: Path, scan: DatasetScan) -> DatasetScan:
    """A scan whose clips are whole recordings, those without any expression too.

    In a table of clips, a row without onset and offset names a recording and no expression.

    Args:
        root: what the paths of the scan are relative to.
        scan: of the dataset's clips.

    Raises:
        DatasetNotFoundError: the dataset is there as clips that were cut out.
    """
    if scan.dataset == "video":
        return scan.model_copy(update={"clips": tuple(clip.model_copy(update={"long": True}) for clip in scan.clips)})
    if not scan.recordings:
        raise DatasetNotFoundError(
            f"{root}: --long needs whole recordings, and its layout {scan.layout} holds clips that were cut out; pass "
            "the folder with the long videos"
        )
    parts: dict[str, list[Clip]] = {path: [] for path in scan.recordings}
    findings = [finding for finding in scan.findings if finding.kind != "folder_without_row"]
    for clip in scan.clips:
        if clip.source is None:
            findings += clip.findings
        else:
            parts[clip.source.path].append(clip)
    names = _names(scan)
    clips = [_recording(root, path, names[path], found, scan.dataset) for path, found in parts.items()]
    return scan.model_copy(update={"clips": sort_clips(clips), "findings": tuple(findings), "expected": {}})


def _names(scan: DatasetScan) -> dict[str, str]:
    """Path -> subject and name of a recording; in a table of clips it is called as its file, if only one is."""
    if scan.dataset not in _FREE:
        return scan.recordings
    stems = {path: f"{named.partition('/')[0]}/{Path(path).stem}" for path, named in scan.recordings.items()}
    times = Counter(stems.values())
    return {
        path: stem if times[stem] == 1 else f"{stem.partition('/')[0]}/{path.replace('/', '_')}"
        for path, stem in stems.items()
    }


def _recording(root: Path, path: str, named: str, parts: list[Clip], dataset: str) -> Clip:
    subject, _, name = named.partition("/")
    key = f"{dataset}/{subject}/{name}"
    notes = [finding.model_copy(update={"clip": key, "unusable": False}) for clip in parts for finding in clip.findings]
    fps = parts[0].fps if parts else FACTS[dataset].fps
    facts: VideoFacts | None = None
    source: FrameSource | None = None
    try:
        if is_video(path):
            facts = examine_video(root / path)
            fps = fps if parts else facts.fps or fps
            source = VideoSegment(path=path, count=len(facts.times))
        else:
            frames = index_frames(entry.name for entry in (root / path).iterdir() if is_image(entry.name))
            source = ImageSequence(folder=path, names=frames.names, numbers=frames.numbers)
    except FrameError as error:
        message = str(error).replace(str(root / path), path)
        notes.append(Finding(kind="no_frames", clip=key, message=message, unusable=True))
    numbers = source.numbers if source is not None else ()
    if source is not None and len(numbers) < 2:
        notes.append(Finding(kind="no_frames", clip=key, message=f"{path}: {len(numbers)} frames", unusable=True))
    intervals = [one for clip in parts if (one := _interval(clip, numbers, dataset)) is not None]
    return Clip(
        dataset=dataset,
        subject=subject,
        name=name,
        source=source,
        onset=numbers[0] if numbers else None,
        apex=None,
        offset=numbers[-1] if numbers else None,
        fps=fps,
        label=Label(),
        times=facts.times if facts is not None and facts.varies else (),
        findings=tuple(notes),
        long=True,
        intervals=tuple(sorted(intervals, key=lambda one: (one.onset, one.offset))),
    )


def _interval(clip: Clip, numbers: tuple[int, ...], dataset: str) -> ExpressionInterval | None:
    """The expression of a clip; none of a clip that is the whole recording without a word on what it shows."""
    if clip.onset is None or clip.offset is None or clip.offset < clip.onset:
        return None
    whole = bool(numbers) and (clip.onset, clip.offset) == (numbers[0], numbers[-1])
    if dataset in _FREE and whole:
        return None
    kind: ExpressionType = clip.label.expression_type
    if dataset in _FREE and kind == "micro" and (clip.offset - clip.onset + 1) / clip.fps > _LONGEST_MICRO:
        kind = "macro"  # where nobody said so
    apex = clip.apex if clip.apex is not None and clip.onset <= clip.apex <= clip.offset else None
    label = clip.label.model_copy(update={"expression_type": kind})
    return ExpressionInterval(onset=clip.onset, apex=apex, offset=clip.offset, label=label)
