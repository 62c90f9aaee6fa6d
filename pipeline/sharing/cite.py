"""`mer cite`: which store it was, and whom it is owed to."""

from pipeline.clip.backends import ACTION_UNITS, DEPTH
from pipeline.datasets import DATASETS
from schemas.datasets import SYNTHETIC_NOTE
from schemas.manifest import Manifest
from schemas.store.reader import Store
from schemas.words import count

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

_MER = """\
@misc{{mer,
  author       = {{{{the mer authors}}}},
  title        = {{mer: micro-expression recognition, from raw datasets to verified stores and honest results}},
  year         = {{2026}},
  howpublished = {{Software{version}}}
}}"""


def cite(store: Store) -> str:
    """BibTeX of what a store is made of and with, below comment lines with its content id, tools and terms.

    A backend of another package is cited where that package is installed.
    """
    manifest = store.manifest
    lines = [f"mer store, format {manifest.format_version}, content sha256:{manifest.content_sha256}"]
    good = [entry for entry in manifest.rows if entry.status == "ok"]
    people = {entry.key.rpartition("/")[0] for entry in good}
    lines.append(f"{count(len(good), 'clip')} of {count(len(people), 'subject')}: {', '.join(manifest.datasets)}")
    if manifest.synthetic:
        lines.append(SYNTHETIC_NOTE)
    for what, column in (("depth", manifest.depth), ("action units", manifest.action_units)):
        if column is not None:
            lines.append(f"{what}: {column.tool} {column.version}")
    lines += [f"{licence.dataset}: {licence.terms}" for licence in manifest.licences]
    found = [DATASETS[name].facts.bibtex for name in manifest.datasets if name in DATASETS.names()]
    if manifest.depth is not None and manifest.depth.tool in DEPTH.names():
        found.append(DEPTH[manifest.depth.tool].bibtex)
    if manifest.action_units.tool in ACTION_UNITS.names():
        found.append(ACTION_UNITS[manifest.action_units.tool].bibtex)
    entries = filter(
        None, dict.fromkeys([*found, MADV_NET, _mer(store.manifest)])
    )  # the cameras of SMIC share one paper
    return "\n".join(f"% {line}" for line in lines) + "\n\n" + "\n\n".join(entries)


def _mer(manifest: Manifest) -> str:
    """The entry of ``mer`` itself, in the versions that made the store's clips."""
    made_by = {run.packages.get("madv-mer") for run in manifest.provenances} - {None}
    return _MER.format(version=f", version {', '.join(sorted(map(str, made_by)))}" if made_by else "")
