"""Which frames of a clip are kept where not all are: a network looks at a few of them alone."""

from itertools import compress

import numpy as np

from schemas.clip import Clip, FrameSource, ImageSequence


def with_fewer_frames(clip: Clip, count: int) -> Clip:
    """The clip with at most ``count`` frames, evenly from onset to offset, always with onset, apex and offset.

    The apex takes the place of the frame nearest to it. Without an annotated onset or offset the first or last frame
    stands for it; without an apex there is none to keep. Numbers and times stay those of the frames.

    Args:
        clip: one expression.
        count: frames, at least 3.
    """
    if clip.source is None or not clip.usable or len(clip.source.numbers) <= count:
        return clip
    numbers = clip.source.numbers
    position = {number: i for i, number in enumerate(numbers)}
    first = 0 if clip.onset is None else position.get(clip.onset, 0)
    last = len(numbers) - 1 if clip.offset is None else position.get(clip.offset, len(numbers) - 1)
    if last <= first:  # an annotation that cannot be meant
        first, last = 0, len(numbers) - 1
    chosen = np.floor(np.linspace(first, last, min(count, last - first + 1)) + 0.5).astype(int)
    apex = None if clip.apex is None else position.get(clip.apex)
    if apex is not None and first < apex < last:
        chosen[1 + np.abs(chosen[1:-1] - apex).argmin()] = apex
    kept = np.isin(np.arange(len(numbers)), chosen).tolist()
    times = tuple(compress(clip.times, kept))
    return clip.model_copy(
        update={"source": _part(clip.source, kept), "times": tuple(time - times[0] for time in times)}
    )


def _part(source: FrameSource, kept: list[bool]) -> FrameSource:
    if isinstance(source, ImageSequence):
        names, numbers = (tuple(compress(values, kept)) for values in (source.names, source.numbers))
        return source.model_copy(update={"names": names, "numbers": numbers})
    shift = source.start - source.first_number  # from a frame's number to its position in the file
    dropped = {number + shift for number, keep in zip(source.numbers, kept, strict=True) if not keep}
    return source.model_copy(update={"left_out": tuple(sorted(dropped.union(source.left_out)))})
