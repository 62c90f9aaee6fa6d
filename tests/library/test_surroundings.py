"""What surrounds a call: modules called like ours, scripts that workers would run again, what an import loads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import madv_mer
from schemas.errors import DatasetNotFoundError, RunError

ROOT = Path(__file__).parents[2]
IMPORT = "import madv_mer; madv_mer.open_store"


def _python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As an installed package is found: after the folder of the script, or of the notebook."""
    environment = {**os.environ, "PYTHONPATH": f"{cwd}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def _own(folder: Path, name: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine = True\n")
    return (folder / name).parent if name.endswith("__init__.py") else folder / name


@pytest.mark.parametrize("name", ["schemas.py", "training/__init__.py"])
def test_the_file_is_named(name: str, tmp_path: Path) -> None:
    place = _own(tmp_path, name)
    failed = _python("-c", IMPORT, cwd=tmp_path)
    assert failed.returncode == 1
    *_, last = failed.stderr.strip().splitlines()
    assert last.startswith(f"ImportError: {place} has the name of madv-mer's own {place.stem!r} ({ROOT / place.stem})")
    assert f"rename {place.name}" in last
    command = _python("-m", "cli", "models", cwd=tmp_path)
    assert command.returncode == 2
    assert command.stderr.startswith(f"error: {place} has the name of madv-mer's own")
    assert "Traceback" not in command.stderr


def test_a_folder_without_modules_does_no_harm(tmp_path: Path) -> None:
    """Data lies in a folder called `training`; it is no package, and ours is found behind it."""
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "clip.png").touch()
    done = _python("-c", IMPORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_module_that_was_imported_before_is_named_too(tmp_path: Path) -> None:
    place = _own(tmp_path, "pipeline.py")
    failed = _python("-c", f"import pipeline; {IMPORT}", cwd=tmp_path)
    assert f"ImportError: {place} has the name" in failed.stderr


def test_importing_it_loads_nothing_heavy(tmp_path: Path) -> None:
    """Neither does asking for what there is."""
    heavy = {"torch", "dask", "distributed", "cv2", "zarr", "pandas", "numpy", "matplotlib", "pydantic"}
    done = _python("-c", f"import sys, madv_mer; dir(madv_mer); print({heavy!r} & set(sys.modules))", cwd=tmp_path)
    assert done.stdout.strip() == "set()", done.stderr
    tables = "import sys, madv_mer; madv_mer.open_store, madv_mer.train; print({'torch', 'dask'} & set(sys.modules))"
    assert _python("-c", tables, cwd=tmp_path).stdout.strip() == "set()"


def test_a_script_that_workers_would_run_again_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read; with the guard, without workers, or in a notebook, which is no file, it goes on."""
    bare, guarded = tmp_path / "bare.py", tmp_path / "guarded.py"
    bare.write_text("import madv_mer\nmadv_mer.preprocess(...)\n")
    guarded.write_text('import madv_mer\nif __name__ == "__main__":\n    madv_mer.preprocess(...)\n')
    main, root, out = sys.modules["__main__"], tmp_path / "raw", tmp_path / "s.zarr"
    monkeypatch.setattr(main, "__file__", str(bare), raising=False)
    with pytest.raises(RunError, match=r"bare\.py: worker processes would run this script again; .* workers=0"):
        madv_mer.preprocess(root, out)
    with pytest.raises(DatasetNotFoundError):
        madv_mer.preprocess(root, out, workers=0)
    for other in (str(guarded), "<stdin>"):
        monkeypatch.setattr(main, "__file__", other)
        with pytest.raises(DatasetNotFoundError):
            madv_mer.preprocess(root, out)
    monkeypatch.delattr(main, "__file__")
    with pytest.raises(DatasetNotFoundError):
        madv_mer.preprocess(root, out)
