"""What stores are made of, to be cited: datasets with their terms, the tools, the paper."""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.manifest import Licence


@dataclass(frozen=True)
class Dataset:
    """One of the published datasets.

    Attributes:
        terms: under which it is handed out, in short.
        bibtex: the paper to cite.
    """

    terms: str
    bibtex: str


_AGREEMENT = (
    "for research, under the agreement signed with the authors; recordings and what shows the participants "
    "may not be passed on to anybody who has not signed it"
)

_SAMM = """\
@article{davison2018samm,
  author  = {Davison, Adrian K. and Lansley, Cliff and Costen, Nicholas and Tan, Kevin and Yap, Moi Hoon},
  title   = {{SAMM}: A Spontaneous Micro-Facial Movement Dataset},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {9},
  number  = {1},
  pages   = {116--129},
  year    = {2018},
  doi     = {10.1109/TAFFC.2016.2573832}
}"""
_CASME2 = """\
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
}"""
_CASME_SQ = """\
@article{qu2018casmesq,
  author  = {Qu, Fangbing and Wang, Su-Jing and Yan, Wen-Jing and Li, He and Wu, Shuhang and Fu, Xiaolan},
  title   = {{CAS(ME)$^2$}: A Database for Spontaneous Macro-Expression and Micro-Expression Spotting and Recognition},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {9},
  number  = {4},
  pages   = {424--436},
  year    = {2018},
  doi     = {10.1109/TAFFC.2017.2654440}
}"""
_SMIC = """\
@inproceedings{li2013smic,
  author    = {Li, Xiaobai and Pfister, Tomas and Huang, Xiaohua and Zhao, Guoying and Pietik{\\"a}inen, Matti},
  title     = {A Spontaneous Micro-expression Database: Inducement, Collection and Baseline},
  booktitle = {10th IEEE International Conference and Workshops on Automatic Face and Gesture Recognition (FG)},
  year      = {2013},
  doi       = {10.1109/FG.2013.6553717}
}"""

MADV_NET = """\
@article{kong2025madvnet,
  author  = {Kong, Weiyi and You, Zhisheng and Lv, Xuebin},
  title   = {{3D} Micro-Expression Recognition Based on Adaptive Dynamic Vision},
  journal = {Sensors},
  volume  = {25},
  number  = {10},
  pages   = {3175},
  year    = {2025},
  doi     = {10.3390/s25103175}
}"""


def published(dataset: str) -> Dataset | None:
    """The published dataset of a name as it stands in keys; ``None`` for one's own videos."""
    family = "smic" if dataset.startswith("smic-") else dataset
    bibtex = {"samm": _SAMM, "casme2": _CASME2, "casme-sq": _CASME_SQ, "smic": _SMIC}.get(family)
    return None if bibtex is None else Dataset(_AGREEMENT, bibtex)


def licences(datasets: Iterable[str]) -> tuple[Licence, ...]:
    """Terms of those datasets that are published under any."""
    found = ((name, published(name)) for name in sorted(set(datasets)))
    return tuple(Licence(dataset=name, terms=dataset.terms) for name, dataset in found if dataset is not None)
