"""With what a run was made."""

import subprocess
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("madv-mer", "numpy", "scikit-learn", "torch", "zarr")  # those that can change a result


def package_versions() -> dict[str, str]:
    """Name -> version."""
    return {name: version(name) for name in _PACKAGES}


def git_revision() -> str | None:
    """Revision of the checkout that this code runs from, ``None`` where it is none."""
    file = Path(__file__)
    checkout = file.parents[2]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", str(file)) is None:
        return None  # installed somewhere below another project's checkout
    revision, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{revision}-dirty" if revision and changes else revision
