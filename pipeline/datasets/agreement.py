"""Whether an annotation is that of the images: a few rows and clips may be alone, more mean a mistake."""

from collections.abc import Collection, Mapping, Sequence

from pipeline.datasets.annotated_clip import Expression
from pipeline.datasets.image_trees import PlacedClip

_FEW = 2  # at most, on either side, whatever their share
_SHARE = 0.05

Pair = tuple[Expression, PlacedClip | None]


def disagreement(
    pairs: Sequence[Pair], placed: Mapping[tuple[str, str], PlacedClip], unread: Collection[str], *, whole: bool
) -> str:
    """What is wrong if more than a small share of rows meets no clip, or of clips no row; else nothing.

    Rows of people who are not on disk at all do not count, since part of a dataset is a dataset too; neither do
    recordings without a row, since not everybody moved in each.

    Args:
        pairs: rows and their clips.
        placed: all clips on disk.
        unread: rows that are none of a clip, in words.
        whole: what is on disk are recordings.
    """
    wanted = {clip.key for _, clip in pairs if clip is not None}
    alone = [clip for clip in placed.values() if clip.key not in wanted]
    people = {clip.subject for clip in placed.values()}
    here = [(row, clip) for row, clip in pairs if row.subject in people]
    missing = [row for row, clip in here if clip is None] if here else [row for row, _ in pairs]
    if not pairs:
        return f"no row of the annotation can be read, for example {next(iter(unread), 'none at all')}"
    if _many(missing, here or pairs):
        row = missing[0]
        message = f"{len(missing)} of {len(here or pairs)} rows meet no clip on disk, for example {row.place}, "
        message += f"{row.subject}/{row.recording}"
    elif not whole and _many(alone, placed):
        message = f"{len(alone)} of {len(placed)} clips on disk have no row"
    else:
        return ""
    example = f"; on disk lies, for example, {alone[0].subject}/{alone[0].name}" if alone else ""
    return f"{message}{example}. Is this the annotation of these images? --annotation FILE names another"


def _many(alone: Collection[object], all_of_them: Collection[object]) -> bool:
    return len(alone) == len(all_of_them) or (len(alone) > _FEW and len(alone) > _SHARE * len(all_of_them))
