"""What is published about each dataset, once: counts, frame rate, terms, the paper to cite, who is in it.

Adapters, synthetic datasets, protocols, citations, the README and the tests read these facts.
"""

from collections.abc import Iterable

from pydantic import Field

from schemas.labels import Emotion, ExpressionType
from schemas.model import Model

AGREEMENT = (
    "for research, under the agreement signed with the authors; recordings and what shows the participants "
    "may not be passed on to anybody who has not signed it"
)


SYNTHETIC_MARKER = "mer-synthetic.json"  # in the root of what `mer synth` writes
SYNTHETIC_NOTE = "synthetic: photographs of faces set in motion by `mer synth`, no recordings of micro-expressions"


class Licence(Model):
    """Under which terms the people of a dataset let themselves be recorded, in words."""

    dataset: str
    terms: str


class Counts(Model):
    """Published figures of one edition of an annotation; what is empty or ``None`` is not published.

    Attributes:
        clips: annotated expressions.
        subjects: people.
        emotions: of all expressions.
        micro: emotions of micro-expressions alone, where there are macro-expressions too.
        types: micro- and macro-expressions.
        self_reports: what the people said that they felt.
        objective_classes: by action units, of the classes 1, 2, ...
    """

    clips: int | None = None
    subjects: int | None = None
    emotions: dict[Emotion, int] = Field(default_factory=dict)
    micro: dict[Emotion, int] = Field(default_factory=dict)
    types: dict[ExpressionType, int] = Field(default_factory=dict)
    self_reports: dict[Emotion, int] = Field(default_factory=dict)
    objective_classes: tuple[int, ...] = ()

    @property
    def expected(self) -> dict[str, int]:
        """The figures under the names that a scan counts by: ``clips``, ``subjects``, ``type:``, ``emotion:``."""
        found = {"clips": self.clips, "subjects": self.subjects}
        found |= {f"type:{kind}": count for kind, count in self.types.items()}
        found |= {f"emotion:{emotion}": count for emotion, count in self.emotions.items()}
        return {name: count for name, count in found.items() if count is not None}


class DatasetFacts(Model):
    """One dataset.

    Attributes:
        name: as in keys and on the command line.
        title: as in print.
        fps: frames per second.
        counts: published.
        revised: counts of a later edition of the annotation, where there is one.
        sheets: usual file names of the annotation; none where labels are in folder names.
        people: name of the dataset that first showed these people, under the same subject ids; its own if empty.
        uncertain: what of its files is not known from the files themselves; `mer scan` says it.
        terms: under which it is handed out, in short.
        bibtex: the paper to cite.
    """

    name: str
    title: str
    fps: float
    counts: Counts = Counts()
    revised: Counts | None = None
    sheets: tuple[str, ...] = ()
    people: str = ""
    uncertain: str = ""
    terms: str = AGREEMENT
    bibtex: str = ""

    @property
    def licences(self) -> tuple[Licence, ...]:
        """The terms as a store records them."""
        return (Licence(dataset=self.name, terms=self.terms),) if self.terms else ()


_CASME2_EMOTIONS: dict[Emotion, int] = {
    "others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2,
}  # fmt: skip

_SAMM = DatasetFacts(
    name="samm",
    title="SAMM",
    fps=200,
    counts=Counts(
        clips=159,
        subjects=29,
        emotions={
            "anger": 57, "happiness": 26, "others": 26, "surprise": 15,
            "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6,
        },
        objective_classes=(24, 13, 20, 8, 3, 7, 84),
    ),
    sheets=("SAMM_Micro_FACS_Codes_v2.xlsx", "SAMM_20181215_Micro_FACS_Codes_v2.xlsx"),
    bibtex="""\
@article{davison2018samm,
  author  = {Davison, Adrian K. and Lansley, Cliff and Costen, Nicholas and Tan, Kevin and Yap, Moi Hoon},
  title   = {{SAMM}: A Spontaneous Micro-Facial Movement Dataset},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {9},
  number  = {1},
  pages   = {116--129},
  year    = {2018},
  doi     = {10.1109/TAFFC.2016.2573832}
}""",
)  # fmt: skip
_CASME2 = DatasetFacts(
    name="casme2",
    title="CASME II",
    fps=200,
    counts=Counts(clips=255, subjects=26, emotions=_CASME2_EMOTIONS),
    # In 2019 three clips of sub24 moved from sadness to surprise.
    revised=Counts(clips=255, subjects=26, emotions=_CASME2_EMOTIONS | {"surprise": 28, "sadness": 4}),
    sheets=("CASME2-coding-20190701.xlsx", "CASME2-coding-20140508.xlsx", "CASME2-ObjectiveClasses.xlsx"),
    bibtex="""\
@article{yan2014casme2,
  author  = {Yan, Wen-Jing and Li, Xiaobai and Wang, Su-Jing and Zhao, Guoying and Liu, Yong-Jin and
             Chen, Yu-Hsin and Fu, Xiaolan},
  title   = {{CASME II}: An Improved Spontaneous Micro-Expression Database and the Baseline Evaluation},
  journal = {PLoS ONE},
  volume  = {9},
  number  = {1},
  pages   = {e86041},
  year    = {2014},
  doi     = {10.1371/journal.pone.0086041}
}""",
)
_CASME_SQ = DatasetFacts(
    name="casme-sq",
    title="CAS(ME)^2",
    fps=30,
    counts=Counts(
        clips=357,
        subjects=22,
        types={"macro": 300, "micro": 57},
        emotions={"negative": 126, "positive": 124, "others": 82, "surprise": 25},
        micro={"negative": 21, "others": 19, "surprise": 9, "positive": 8},
        self_reports={
            "happiness": 147, "disgust": 74, "anger": 55, "surprise": 36, "fear": 21, "sadness": 9,
            "helpless": 5, "pain": 5, "confused": 3, "sympathy": 2,
        },
    ),
    sheets=("CAS(ME)^2code_final.xlsx", "CAS(ME)^2code_final(Updated).xlsx", "code_final.xlsx"),
    bibtex="""\
@article{qu2018casmesq,
  author  = {Qu, Fangbing and Wang, Su-Jing and Yan, Wen-Jing and Li, He and Wu, Shuhang and Fu, Xiaolan},
  title   = {{CAS(ME)$^2$}: A Database for Spontaneous Macro-Expression and Micro-Expression Spotting and Recognition},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {9},
  number  = {4},
  pages   = {424--436},
  year    = {2018},
  doi     = {10.1109/TAFFC.2017.2654440}
}""",
)  # fmt: skip
_SMIC_HS = DatasetFacts(
    name="smic-hs",
    title="SMIC HS",
    fps=100,
    counts=Counts(clips=164, subjects=16, emotions={"negative": 70, "positive": 51, "surprise": 43}),
    people="smic-hs",
    bibtex="""\
@inproceedings{li2013smic,
  author    = {Li, Xiaobai and Pfister, Tomas and Huang, Xiaohua and Zhao, Guoying and Pietik{\\"a}inen, Matti},
  title     = {A Spontaneous Micro-expression Database: Inducement, Collection and Baseline},
  booktitle = {10th IEEE International Conference and Workshops on Automatic Face and Gesture Recognition (FG)},
  year      = {2013},
  doi       = {10.1109/FG.2013.6553717}
}""",
)


def _smic(camera: str, *, long: bool) -> DatasetFacts:
    """Another camera of SMIC, or its long clips: the same people under the same ids."""
    subjects = 16 if camera == "HS" else 8  # of HS-E 157 rows with 172 expressions are in circulation, and 162 with 167
    short = Counts(clips=71, subjects=subjects)  # of VIS and NIR
    sheets = (
        f"SMIC-{camera}-E_annotation_2019.xlsx",
        f"SMIC-{camera}-E_annotation.xlsx",
        f"SMIC_{camera}_E_annotation.xlsx",
    )
    return DatasetFacts(
        name=f"smic-{camera.lower()}" + ("-e" if long else ""),
        title=f"SMIC-E {camera}" if long else f"SMIC {camera}",
        fps=100 if camera == "HS" else 25,
        counts=Counts(clips=172 if camera == "HS" else None, subjects=subjects) if long else short,
        revised=Counts(clips=167, subjects=subjects) if long and camera == "HS" else None,
        sheets=sheets if long else (),
        people="smic-hs",
        bibtex=_SMIC_HS.bibtex,
    )


_CASME3 = DatasetFacts(
    name="casme3",
    title="CAS(ME)^3, part A",
    fps=30,
    counts=Counts(clips=860, subjects=94),  # rows of the sheet in circulation; the paper counts 943
    sheets=("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",),
    uncertain="how many clips a class the annotation has; whether depth is in millimetres",
    bibtex="""\
@article{li2023casme3,
  author  = {Li, Jingting and Dong, Zizhao and Lu, Shaoyuan and Wang, Su-Jing and Yan, Wen-Jing and Ma, Yinhuan and
             Liu, Ye and Huang, Changbing and Fu, Xiaolan},
  title   = {{CAS(ME)$^3$}: A Third Generation Facial Spontaneous Micro-Expression Database With Depth Information
             and High Ecological Validity},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume  = {45},
  number  = {3},
  pages   = {2782--2800},
  year    = {2023},
  doi     = {10.1109/TPAMI.2022.3174895}
}""",
)
_MMEW = DatasetFacts(
    name="mmew",
    title="MMEW",
    fps=90,
    counts=Counts(
        clips=300,
        subjects=36,
        emotions={
            "happiness": 36, "anger": 8, "surprise": 89, "disgust": 72, "fear": 16, "sadness": 13, "others": 66,
        },
    ),
    sheets=("MMEW_Micro_Exp.xlsx",),
    uncertain="whether frame numbers begin at the onset or at 1: both are recognised",
    bibtex="""\
@article{ben2022mmew,
  author  = {Ben, Xianye and Ren, Yi and Zhang, Junping and Wang, Su-Jing and Kpalma, Kidiyo and Meng, Weixiao and
             Liu, Yong-Jin},
  title   = {Video-Based Facial Micro-Expression Analysis: A Survey of Datasets, Features and Algorithms},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume  = {44},
  number  = {9},
  pages   = {5826--5846},
  year    = {2022},
  doi     = {10.1109/TPAMI.2021.3067464}
}""",
)  # fmt: skip
_SAMM_LONG = DatasetFacts(
    name="samm-long",
    title="SAMM Long Videos",
    fps=200,
    counts=Counts(clips=502, types={"macro": 343, "micro": 159}),
    sheets=tuple(f"SAMM_LongVideos_V{version}_Release.xlsx" for version in (3, 2, 1)),
    people="samm",
    bibtex="""\
@inproceedings{yap2020sammlong,
  author    = {Yap, Chuin Hong and Kendrick, Connah and Yap, Moi Hoon},
  title     = {{SAMM} Long Videos: A Spontaneous Facial Micro- and Macro-Expressions Dataset},
  booktitle = {15th IEEE International Conference on Automatic Face and Gesture Recognition (FG)},
  year      = {2020},
  doi       = {10.1109/FG47880.2020.00029}
}""",
)
_DFME = DatasetFacts(
    name="dfme",
    title="DFME, training part",
    fps=200,
    counts=Counts(clips=1856),
    sheets=("training_full_with_AU.xlsx",),
    uncertain="whether frame numbers begin at the onset or at 1: both are recognised; how many clips a class there are",
    bibtex="""\
@article{zhao2024dfme,
  author  = {Zhao, Sirui and Tang, Huaying and Mao, Xinglong and Liu, Shifeng and Zhang, Yiming and Wang, Hao and
             Xu, Tong and Chen, Enhong},
  title   = {{DFME}: A New Benchmark for Dynamic Facial Micro-Expression Recognition},
  journal = {IEEE Transactions on Affective Computing},
  year    = {2024},
  doi     = {10.1109/TAFFC.2023.3341918}
}""",
)
_4DME = DatasetFacts(
    name="4dme",
    title="4DME",
    fps=60,
    counts=Counts(clips=267),  # 65 people were filmed; how many of them moved is not published
    sheets=("4DME_Labelling_Micro_release v1.xlsx",),
    uncertain="names of folders and columns, which are those that one group's loader reads; where its depth lies",
    bibtex="""\
@article{li2023fourdme,
  author  = {Li, Xiaobai and Cheng, Shiyang and Li, Yante and Behzad, Muzammil and Shen, Jie and
             Zafeiriou, Stefanos and Pantic, Maja and Zhao, Guoying},
  title   = {{4DME}: A Spontaneous {4D} Micro-Expression Dataset With Multimodalities},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {14},
  number  = {4},
  pages   = {3031--3047},
  year    = {2023},
  doi     = {10.1109/TAFFC.2022.3182342}
}""",
)

FACTS: dict[str, DatasetFacts] = {
    facts.name: facts
    for facts in (
        _SAMM,
        _CASME2,
        _CASME_SQ,
        _SMIC_HS,
        *(_smic(camera, long=False) for camera in ("VIS", "NIR")),
        *(_smic(camera, long=True) for camera in ("HS", "VIS", "NIR")),
        _CASME3,
        _MMEW,
        _SAMM_LONG,
        _DFME,
        _4DME,
        DatasetFacts(name="clips", title="a table of clips", fps=25, terms=""),
        DatasetFacts(name="video", title="plain videos", fps=25, terms=""),
    )
}


def licences(datasets: Iterable[str]) -> tuple[Licence, ...]:
    """Terms of those datasets that are published under any."""
    known = (FACTS[name] for name in sorted(set(datasets)) if name in FACTS)
    return tuple(licence for facts in known for licence in facts.licences)


def people_of(dataset: str) -> str:
    """The dataset that first showed the people of this one under the same ids: SMIC's cameras filmed the same ones."""
    return (FACTS[dataset].people if dataset in FACTS else "") or dataset
