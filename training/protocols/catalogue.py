"""The tasks that we ship: the class sets of the paper, the usual five classes, and the composite of MEGC 2019.

Counts are those of the published annotation files. Class order is that of the source's own tables.
"""

from training.protocols.tasks import DatasetRule, Task

_2014 = "counts of CASME2-coding-20140508.xlsx; in the file of 2019 three clips of sub24 move from sadness to surprise"
_2019 = "counts of CASME2-coding-20190701.xlsx"


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_CASME2_FIVE = ("happiness", "repression", "surprise", "disgust", "others")
_CASME2_COUNTS = {"happiness": 32, "repression": 27, "surprise": 25, "disgust": 63, "others": 99}
_SAMM_FIVE = ("anger", "happiness", "others", "surprise", "contempt")
_SAMM_EIGHT = ("happiness", "sadness", "disgust", "anger", "others", "contempt", "fear", "surprise")
_THREE = ("negative", "positive", "surprise")

_SMIC_THREE = DatasetRule(
    dataset="smic-hs",
    classes=_same(*_THREE),
    expected={"negative": 70, "positive": 51, "surprise": 43},
    expected_subjects=16,
)
_MEGC2019 = Task(
    name="megc2019",
    title="MEGC 2019 composite: CASME II, SAMM and SMIC-HS in three classes (442 clips, 68 subjects)",
    classes=_THREE,
    datasets=(
        DatasetRule(
            dataset="casme2",
            classes={"disgust": "negative", "repression": "negative", "happiness": "positive", "surprise": "surprise"},
            exclude=("casme2/sub04/EP12_01f", "casme2/sub05/EP09_05f"),
            expected={"negative": 88, "positive": 32, "surprise": 25},
            expected_subjects=24,
            note=_2014,
        ),
        DatasetRule(
            dataset="samm",
            classes=dict.fromkeys(("anger", "contempt", "disgust", "fear", "sadness"), "negative")
            | {"happiness": "positive", "surprise": "surprise"},
            expected={"negative": 92, "positive": 26, "surprise": 15},
            expected_subjects=28,
        ),
        _SMIC_THREE,
    ),
)

_TASKS = (
    _MEGC2019,
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
            DatasetRule(
                dataset="casme2",
                classes=_same(*_CASME2_FIVE),
                expected=_CASME2_COUNTS,
                expected_subjects=26,
                note=f"{_2014}: then take casme2-5-2019",
            ),
        ),
    ),
    Task(
        name="casme2-5-2019",
        title="CASME II, five classes, annotation of 2019 (249 clips)",
        classes=_CASME2_FIVE,
        datasets=(
            DatasetRule(
                dataset="casme2",
                classes=_same(*_CASME2_FIVE),
                expected=_CASME2_COUNTS | {"surprise": 28},
                expected_subjects=26,
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
            DatasetRule(
                dataset="casme-sq",
                label="self_report",
                expression_type=None,
                classes=_same("happiness", "sadness", "anger", "surprise", "disgust", "fear")
                | dict.fromkeys(("helpless", "pain", "confused", "sympathy"), "others"),
                expected={
                    "happiness": 147, "sadness": 9, "others": 15, "anger": 55,
                    "surprise": 36, "disgust": 74, "fear": 21,
                },
                expected_subjects=22,
            ),
        ),
    ),
    Task(
        name="casme-sq-micro-4",
        title="CAS(ME)^2, micro-expressions alone, the annotation's four classes (57 clips)",
        classes=(*_THREE, "others"),
        datasets=(
            DatasetRule(
                dataset="casme-sq",
                classes=_same(*_THREE, "others"),
                expected={"negative": 21, "positive": 8, "surprise": 9, "others": 19},
                expected_subjects=14,
            ),
        ),
    ),
    Task(
        name="samm-8",
        title="SAMM, the paper's eight classes (159 clips)",
        classes=_SAMM_EIGHT,
        datasets=(
            DatasetRule(
                dataset="samm",
                classes=_same(*_SAMM_EIGHT),
                expected={
                    "happiness": 26, "sadness": 6, "disgust": 9, "anger": 57,
                    "others": 26, "contempt": 12, "fear": 8, "surprise": 15,
                },
                expected_subjects=29,
            ),
        ),
    ),
    Task(
        name="samm-5",
        title="SAMM, the usual five classes (136 clips)",
        classes=_SAMM_FIVE,
        datasets=(
            DatasetRule(
                dataset="samm",
                classes=_same(*_SAMM_FIVE),
                expected={"anger": 57, "happiness": 26, "others": 26, "surprise": 15, "contempt": 12},
                expected_subjects=27,
            ),
        ),
    ),
    Task(
        name="samm-objective-7",
        title="SAMM, objective classes by action units (159 clips)",
        classes=tuple(f"class {n}" for n in range(1, 8)),
        datasets=(
            DatasetRule(
                dataset="samm",
                label="objective_class",
                classes={str(n): f"class {n}" for n in range(1, 8)},
                expected={f"class {n}": count for n, count in enumerate((24, 13, 20, 8, 3, 7, 84), 1)},
                expected_subjects=29,
            ),
        ),
    ),
)  # fmt: skip
TASKS = {task.name: task for task in _TASKS}
