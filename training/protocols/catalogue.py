"""The tasks that we ship: the class sets of the paper, the usual five classes, and the composite of MEGC 2019.

Counts follow from those of the published annotation files. Class order is that of the source's own tables.
"""

from collections import Counter
from collections.abc import Mapping

from schemas.datasets import FACTS
from schemas.labels import Emotion
from training.protocols.tasks import DatasetRule, Task

_2014 = "counts of CASME2-coding-20140508.xlsx; in the file of 2019 three clips of sub24 move from sadness to surprise"
_2019 = "counts of CASME2-coding-20190701.xlsx"

_CASME2_FIVE = ("happiness", "repression", "surprise", "disgust", "others")
_SAMM_FIVE = ("anger", "happiness", "others", "surprise", "contempt")
_SAMM_EIGHT = ("happiness", "sadness", "disgust", "anger", "others", "contempt", "fear", "surprise")
_THREE = ("negative", "positive", "surprise")

_SAMM, _CASME2, _CASME_SQ = (FACTS[name].counts for name in ("samm", "casme2", "casme-sq"))
_CASME2_2019 = FACTS["casme2"].revised or _CASME2


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _expected(classes: Mapping[str, str], counts: Mapping[str, int], excluded: Mapping[str, str]) -> dict[str, int]:
    """Clips of each class: those of the labels that it stands for, without the excluded ones."""
    expected = Counter({name: 0 for name in classes.values()})
    for label, name in classes.items():
        expected[name] += counts[label]
    expected.subtract(excluded.values())
    return dict(expected)


def _rule(
    dataset: str,
    classes: Mapping[str, str],
    counts: Mapping[Emotion, int] | Mapping[str, int],
    subjects: int | None,
    *,
    excluded: Mapping[str, str] | None = None,
    **fields: str | None,
) -> DatasetRule:
    """A rule with the counts that follow from the labels' own; ``excluded`` maps keys to the class that they leave."""
    excluded = excluded or {}
    expected = _expected(classes, {str(label): count for label, count in counts.items()}, excluded)
    return DatasetRule.model_validate(
        {"dataset": dataset, "classes": dict(classes), "exclude": tuple(excluded), "expected": expected}
        | {"expected_subjects": subjects}
        | fields
    )


def _uncounted(dataset: str, classes: Mapping[str, str]) -> DatasetRule:
    """A rule for a dataset of whose annotation file nobody has published the counts a class."""
    return DatasetRule(dataset=dataset, classes=dict(classes), expected={}, expected_subjects=None)


_MMEW = FACTS["mmew"].counts
_MMEW_THREE = dict.fromkeys(("anger", "disgust", "fear", "sadness"), "negative") | {
    "happiness": "positive",
    "surprise": "surprise",
}
_CASME3_NEGATIVE = dict.fromkeys(("disgust", "fear", "anger", "sadness"), "negative")
_CASME3_THREE = {"happiness": "positive", **_CASME3_NEGATIVE, "surprise": "surprise"}
_CASME3_SEVEN = ("happiness", "disgust", "fear", "anger", "sadness", "surprise", "others")
_DFME_SEVEN = ("happiness", "disgust", "contempt", "surprise", "fear", "anger", "sadness")
_SMIC_THREE = _rule("smic-hs", _same(*_THREE), FACTS["smic-hs"].counts.emotions, 16)
_NEGATIVE = dict.fromkeys(("casme2/sub04/EP12_01f", "casme2/sub05/EP09_05f"), "negative")

_TASKS = (
    Task(
        name="megc2019",
        title="MEGC 2019 composite: CASME II, SAMM and SMIC-HS in three classes (442 clips, 68 subjects)",
        classes=_THREE,
        datasets=(
            _rule(
                "casme2",
                {"disgust": "negative", "repression": "negative", "happiness": "positive", "surprise": "surprise"},
                _CASME2.emotions,
                24,
                excluded=_NEGATIVE,
                note=_2014,
            ),
            _rule(
                "samm",
                dict.fromkeys(("anger", "contempt", "disgust", "fear", "sadness"), "negative")
                | {"happiness": "positive", "surprise": "surprise"},
                _SAMM.emotions,
                28,
            ),
            _SMIC_THREE,
        ),
    ),
    Task(
        name="smic-3",
        title="SMIC-HS, the paper's three classes (164 clips)",
        classes=("positive", "negative", "surprise"),
        datasets=(_SMIC_THREE,),
    ),
    Task(
        name="casme2-5",
        title="CASME II, the paper's five classes, annotation of 2014 (246 clips)",
        classes=_CASME2_FIVE,
        datasets=(
            _rule("casme2", _same(*_CASME2_FIVE), _CASME2.emotions, 26, note=f"{_2014}: then take casme2-5-2019"),
        ),
    ),
    Task(
        name="casme2-5-2019",
        title="CASME II, five classes, annotation of 2019 (249 clips)",
        classes=_CASME2_FIVE,
        datasets=(
            _rule(
                "casme2",
                _same(*_CASME2_FIVE),
                _CASME2_2019.emotions,
                26,
                note=f"{_2019}; for that of 2014 take casme2-5",
            ),
        ),
    ),
    Task(
        name="casme-sq-7",
        # The paper names happiness, sadness, neutrality, anger, surprise, contempt, fear. The annotation has no
        # neutral and no contempt: the one reading with seven classes is the self-report, with disgust for
        # "despise" and the four rare answers together for "neutral".
        title="CAS(ME)^2, seven classes by self-report, macro- and micro-expressions (357 clips)",
        classes=("happiness", "sadness", "others", "anger", "surprise", "disgust", "fear"),
        datasets=(
            _rule(
                "casme-sq",
                _same("happiness", "sadness", "anger", "surprise", "disgust", "fear")
                | dict.fromkeys(("helpless", "pain", "confused", "sympathy"), "others"),
                _CASME_SQ.self_reports,
                22,
                label="self_report",
                expression_type=None,
            ),
        ),
    ),
    Task(
        name="casme-sq-micro-4",
        title="CAS(ME)^2, micro-expressions alone, the annotation's four classes (57 clips)",
        classes=(*_THREE, "others"),
        datasets=(_rule("casme-sq", _same(*_THREE, "others"), _CASME_SQ.micro, 14),),
    ),
    Task(
        name="samm-8",
        title="SAMM, the paper's eight classes (159 clips)",
        classes=_SAMM_EIGHT,
        datasets=(_rule("samm", _same(*_SAMM_EIGHT), _SAMM.emotions, 29),),
    ),
    Task(
        name="samm-5",
        title="SAMM, the usual five classes (136 clips)",
        classes=_SAMM_FIVE,
        datasets=(_rule("samm", _same(*_SAMM_FIVE), _SAMM.emotions, 27),),
    ),
    Task(
        name="samm-objective-7",
        title="SAMM, objective classes by action units (159 clips)",
        classes=tuple(f"class {n}" for n in range(1, 8)),
        datasets=(
            _rule(
                "samm",
                {str(n): f"class {n}" for n in range(1, 8)},
                {str(n): count for n, count in enumerate(_SAMM.objective_classes, 1)},
                29,
                label="objective_class",
            ),
        ),
    ),
    Task(
        name="mmew-7",
        title="MMEW, all seven classes (300 clips)",
        classes=tuple(_MMEW.emotions),
        datasets=(_rule("mmew", _same(*_MMEW.emotions), _MMEW.emotions, None),),
    ),
    Task(
        name="mmew-4",
        title="MMEW, the four classes with most clips (263 clips)",
        classes=("happiness", "surprise", "disgust", "others"),
        datasets=(_rule("mmew", _same("happiness", "surprise", "disgust", "others"), _MMEW.emotions, None),),
    ),
    Task(
        name="mmew-3",
        title="MMEW in three classes, without others (234 clips)",
        classes=_THREE,
        datasets=(_rule("mmew", _MMEW_THREE, _MMEW.emotions, None),),
    ),
    Task(
        name="casme3-7",
        title="CAS(ME)^3 part A, all seven classes",
        classes=_CASME3_SEVEN,
        datasets=(_uncounted("casme3", _same(*_CASME3_SEVEN)),),
    ),
    Task(
        name="casme3-4",
        title="CAS(ME)^3 part A in four classes",
        classes=(*_THREE, "others"),
        datasets=(_uncounted("casme3", _CASME3_THREE | _same("others")),),
    ),
    Task(
        name="casme3-3",
        title="CAS(ME)^3 part A in three classes, without others",
        classes=_THREE,
        datasets=(_uncounted("casme3", _CASME3_THREE),),
    ),
    Task(
        name="dfme-7",
        title="DFME, training part, all seven classes",
        classes=_DFME_SEVEN,
        datasets=(_uncounted("dfme", _same(*_DFME_SEVEN)),),
    ),
)
TASKS = {task.name: task for task in _TASKS}
