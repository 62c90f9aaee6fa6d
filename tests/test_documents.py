"""The words of the README and of the pages in `docs/`, tried."""

import json
import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import madv_mer
from schemas.datasets import FACTS
from schemas.layout import ARRAYS
from schemas.manifest import FORMAT_VERSION
from schemas.store.reader import Store
from tests.pipeline.clip.videos import write_video
from tests.training.inference.test_predict import PROTOCOL
from training.models.registry import create_model
from training.runs.recipes import resolve

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def python_of(page: str) -> list[str]:
    """The blocks of Python on a page."""
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_the_python_of_readme_and_pages_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines on plain Zarr, on xarray and on the library, typed exactly, read what the store's own reader reads."""
    monkeypatch.chdir(store.path.parent)
    key = store.manifest.clips[0].key
    with_zarr, with_xarray = python_of(PAGES["store"])
    with_ours, _ = python_of(PAGES["library"])
    (in_short,) = python_of(README)
    names: dict[str, Any] = {}
    exec(with_zarr.replace("casme2/sub01/EP02_01f", key), names)
    np.testing.assert_array_equal(names["texture"], store.texture(key))
    np.testing.assert_array_equal(names["depth"], store.depth(key))
    np.testing.assert_array_equal(names["apex"], store.action_units(key)[1])
    exec(with_xarray.replace("casme2/sub01/EP02_01f", key), names)
    assert names["smile"][key] == store.action_units(key)[1][store.manifest.action_units.names.index("AU12")]
    happy = sum(entry.label.emotion == "happiness" for entry in store.manifest.clips)
    assert names["happy"].sizes["clip"] == happy
    np.testing.assert_array_equal(names["texture"], store.texture(key))
    exec(with_ours.replace("casme2/sub01/EP02_01f", key), names)
    onset, apex = store.action_units(key)
    twelve = store.manifest.action_units.names.index("AU12")
    assert names["smile"] == pytest.approx(apex[twelve] - onset[twelve])
    np.testing.assert_array_equal(names["peak"], store.texture(key)[store.phases(key)[1]])
    assert names["lengths"] == [entry.n_frames / 200 for entry in store.manifest.clips]
    assert len(names["table"]) == 4
    mean = store.depth(key).astype(np.float32).mean(0)
    np.testing.assert_allclose(names["mean_depth"].sel(clip=key), mean, atol=1e-5)
    assert set(names["happy"].to_pandas()["emotion"]) <= {"happiness", "surprise"}
    short: dict[str, Any] = {}
    exec(in_short.replace("casme2/sub01/EP02_01f", key), short)
    assert short["smile"] == names["smile"]
    assert short["table"].equals(names["table"])


@pytest.mark.slow
def test_the_training_in_python_runs(
    store: Store, shared_casme2: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    """Its lines, with a protocol that two people can meet, one epoch, and the backend that needs no weights."""
    monkeypatch.chdir(store.path.parent)
    Path("two.toml").write_text(PROTOCOL)
    frames = [np.asarray(Image.open(file)) for file in sorted(shared_casme2.rglob("EP*"))[0].iterdir()]
    write_video(Path("talk.mp4"), frames)
    *_, lines = python_of(PAGES["library"])
    here = 'workers=0, device="cpu"'
    for old, new in {
        '"casme2.zarr")': f'"casme2.zarr", depth="mesh", au="mesh", size=112, {here})',
        "/data/CASME2": str(shared_casme2),
        '"loso")  # or': f'"two.toml", optimisation={{"epochs": 1, "warmup_epochs": 0}}, {here})  # or',
        '"loso")': '"two.toml")',
        '"talk.mp4")': '"talk.mp4", device="cpu")',
    }.items():
        assert old in lines
        lines = lines.replace(old, new)
    names: dict[str, Any] = {"madv_mer": madv_mer}
    exec(lines, names)
    assert names["logits"].shape == (2, 2)
    assert names["again"].metrics.equals(names["scores"])
    assert names["answers"].index.names == ["video", "start_s", "end_s"]
    assert set(names["answers"].columns) == {"predicted", "low", "high", "reason"}
    assert not list(Path().glob("*windows*"))


def test_no_page_names_a_command_that_is_not_there() -> None:
    """Every `mer WORD` of README and pages is a command; and every command is on one of them."""
    import cli

    commands = {name for group in cli.COMMANDS.values() for name in group}
    text = "\n".join([README, *PAGES.values()])
    named = set(re.findall(r"(?:^|`|run )mer ([a-z]+)", text, re.MULTILINE))
    assert named == commands


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert README.count("\n") < 200
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README)]
    assert len(links) > 12
    assert not [link for link in links if not (ROOT / link).is_file()]


def test_the_citation_file_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]


def test_notebooks_are_kept_without_outputs_and_shown() -> None:
    """What they show is made while the site is built; outputs in git would be of another version."""
    shown = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    notebooks = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
    assert len(notebooks) == 4
    for notebook in notebooks:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
        assert f"notebooks/{notebook.name}" in shown


def test_the_format_page_has_every_array_as_it_is_written() -> None:
    """Names, dimensions, types and fill of the page's table are those that stores are made with."""
    table = PAGES["store"].split("| array | dimensions |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in table.splitlines()[2:]]
    fill = {"": '""'}
    assert rows == [
        [f"`{spec.name}`", ", ".join(spec.dims), spec.dtype, fill.get(str(spec.fill_value), str(spec.fill_value))]
        for spec in ARRAYS
    ]
    assert f"Format version {FORMAT_VERSION}." in PAGES["store"]


def test_the_tables_of_datasets_name_each_by_its_title() -> None:
    """README and docs list all datasets that there are facts about, and no others."""
    for text, other in ((README, set()), (PAGES["datasets"], {"clips", "video"})):
        table = text.split("| dataset | name |")[1].split("\n\n")[0]
        rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
        named = {name for _, names in rows for name in re.findall(r"`([\w-]+)`", names)}
        assert named | other == set(FACTS)
        titles = unicodedata.normalize("NFKD", "; ".join(title for title, _ in rows))
        for name in named - {"clips", "video"}:
            word = re.match(r"[\w()^]+", FACTS[name].title)
            assert word is not None
            assert word[0].replace("^", "") in titles


def test_the_config_of_the_training_page_is_one() -> None:
    """Its TOML is accepted, and every field that it sets arrives; its model options are the model's."""
    (text,) = re.findall(r"```toml\n(.*?)```", PAGES["training"], re.DOTALL)
    config = resolve("paper", tomllib.loads(text))
    assert config.sampling == "balanced"
    assert config.optimisation.epochs == 100
    assert config.augmentation.crop == 0.05
    create_model(config.model, classes=3, frames=8, size=32, action_units=4, **config.model_options)
