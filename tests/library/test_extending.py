"""`docs/extending.md`: the package on that page, installed and run as it stands there."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from tests.pipeline.datasets.tiny_clips import save_sheets

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
REPORT = """
import json
from madv_mer import registry

tables = {"models": registry.models(), "datasets": registry.datasets(), "depth": registry.depth(),
          "action_units": registry.action_units()}
print(json.dumps({
    "listed": {kind: [*table.index] for kind, table in tables.items()},
    "clips": store.keys(), "terms": [l.terms for l in store.manifest.licences],
    "depth": [store.manifest.depth.tool, store.manifest.depth.version],
    "off": max(abs(float(c.depth.astype("f8").ravel()[i] * store._store.row("depth_scale", c.key)
                   + store._store.row("depth_offset", c.key) - c.texture.mean(-1).ravel()[i]))
               for c in store for i in (0, 5000, -1)),
    "mouth": [float(c.au.loc["apex", "AU25"] - c.texture[c.apex, 2 * 112 // 3:].mean() / 255) for c in store],
    "model": run.config.model, "tested": len(run.predictions), "classes": run.classes,
}))
"""


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def _install(site: Path) -> None:
    """The page's package, as an installer leaves it."""
    project, _ = _blocks("toml")
    about = tomllib.loads(project)["project"]
    *modules, _ = _blocks("python")
    record = site / f"{about['name']}-{about['version']}.dist-info"
    record.mkdir(parents=True)
    (site / "grins.py").write_text("\n".join(modules))
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    lines = [
        line
        for group, points in about["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in points.items()))
    ]
    (record / "entry_points.txt").write_text("\n".join(lines))


def _dataset(root: Path, shared_casme2: Path) -> None:
    """Two people with two clips of four frames each: faces of the synthetic dataset, in the page's layout."""
    rows: list[list[object]] = [["Person", "Clip", "Start", "Peak", "End", "Feeling"]]
    folders = sorted({image.parent for image in shared_casme2.rglob("img*.jpg")})
    for number, (folder, feeling) in enumerate(zip(folders, ("happiness", "surprise") * 2, strict=True)):
        person, clip = 1 + number // 2, f"grin{number:02d}"
        out = root / "images" / f"p{person}" / clip
        out.mkdir(parents=True)
        for position, image in enumerate(sorted(folder.iterdir())[:4], 1):
            Image.open(image).save(out / f"{position}.png")
        rows.append([str(person), clip, 1, 3, 4, feeling])
    save_sheets(root / "grins.xlsx", rows)


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, shared_casme2: Path) -> None:
    """Its dataset is found and read, its depth and action units are in the store, and its model is trained."""
    _install(tmp_path / "site")
    _dataset(tmp_path / "Grins", shared_casme2)
    (tmp_path / "grins.toml").write_text(_blocks("toml")[1])
    use = _blocks("python")[-1].replace("/data/Grins", "Grins")
    use = use.replace('au="mouth"', 'au="mouth", size=112, workers=0, device="cpu"')
    use = use.replace('recipe="fast"', 'recipe="fast", optimisation={"epochs": 1, "warmup_epochs": 0}, workers=0')
    (tmp_path / "use.py").write_text(use + REPORT)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{Path(__file__).parents[2]}"}
    done = subprocess.run(
        [sys.executable, "use.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for kind, name in {
        "models": "mean-colour",
        "datasets": "grins",
        "depth": "brightness",
        "action_units": "mouth",
    }.items():
        assert name in found["listed"][kind]
    assert found["clips"] == ["grins/1/grin00", "grins/1/grin01", "grins/2/grin02", "grins/2/grin03"]
    assert found["terms"] == ["ask Ann"]
    assert found["depth"] == ["brightness", "1.0"]
    assert found["off"] < 0.5  # of 255 grey levels, in 16 bits
    assert found["mouth"] == pytest.approx([0] * 4, abs=1e-5)
    assert (found["model"], found["tested"], found["classes"]) == ("mean-colour", 4, ["happy", "surprised"])
