"""The revision that a run records."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from training.runs import versions


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_a_change_anywhere_in_the_checkout_makes_its_revision_dirty(tmp_path: Path) -> None:
    """Outside of the package too; code that is in no checkout of its own has no revision."""
    copy = tmp_path / "training" / "runs" / "versions.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(versions.__file__, copy)
    (tmp_path / "cli.py").write_text("one")
    spec = importlib.util.spec_from_file_location("versions_of_a_copy", copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "--quiet")
    assert module.git_revision() is None
    git("add", ".")
    git("commit", "--quiet", "--message", "all")
    revision = git("rev-parse", "HEAD").strip()
    assert module.git_revision() == revision
    (tmp_path / "cli.py").write_text("two")
    assert module.git_revision() == f"{revision}-dirty"
