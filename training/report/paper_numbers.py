"""What the paper printed (Kong, You, Lv, Sensors 2025, 25(10), 3175, Tables 2-5), as data and never as a target.

Class names are the paper's own words: constrain is repression, detest disgust, despise contempt, frightened fear.
"""

from functools import cache
from typing import NamedTuple

from training.models.registry import model_facts, model_names

CITATION = "Kong, You, Lv: 3D Micro-Expression Recognition Based on Adaptive Dynamic Vision. Sensors 2025, 25(10), 3175"
CAVEATS = (
    "These numbers were not reached with this program and are not comparable with the result above: the paper states "
    "neither split nor protocol, and its clips are unknown.",
    'Its "average accuracy" is the unweighted mean over classes, that is, UAR in per cent. Its macro-F1 is Eq. 30.',
    "Its confusion matrices hold more samples than the datasets have clips: 283 of SMIC's 164, and 572 in one class "
    "of SAMM's 159.",
    "MADV-Net's macro-F1 on CAS(ME)2 is 0.78 in Table 4 and 0.82 in the text.",
    'In Table 5 the column "Surprised" lies within 0.07 of the mean of the other seven in every row.',
)


class PaperRow(NamedTuple):
    """One method: accuracy of each class and their mean in per cent, macro-F1 of Eq. 30."""

    model: str
    method: str
    classes: tuple[float, ...]
    average: float
    macro_f1: float


class PaperTable(NamedTuple):
    """One table.

    Attributes:
        number: in the paper.
        dataset: as clip keys begin.
        title: the paper's name of the dataset.
        classes: in the paper's words.
        rows: thirteen methods, MADV-Net last.
    """

    number: int
    dataset: str
    title: str
    classes: tuple[str, ...]
    rows: tuple[PaperRow, ...]

    def row_of(self, model: str) -> PaperRow | None:
        """What the paper printed for a model."""
        return next((row for row in self.rows if row.model == model), None)


_HEADS = (
    (2, "smic-hs", "SMIC", ("positive", "negative", "surprise")),
    (3, "casme2", "CASME-II", ("happy", "constrain", "surprised", "detest", "other")),
    (4, "casme-sq", "CAS(ME)2", ("happy", "sad", "neutral", "angry", "surprised", "despise", "frightened")),
    (5, "samm", "SAMM", ("happy", "sad", "detest", "angry", "other", "despise", "frightened", "surprised")),
)


@cache
def paper_tables() -> tuple[PaperTable, ...]:
    """The four tables; each model knows its own rows."""
    ours, *others = ((name, facts) for name in model_names() if (facts := model_facts(name)).printed)
    return tuple(
        PaperTable(
            number,
            dataset,
            title,
            classes,
            tuple(PaperRow(name, facts.title, *facts.printed[dataset]) for name, facts in (*others, ours)),
        )
        for number, dataset, title, classes in _HEADS
    )
