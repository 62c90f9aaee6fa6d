"""Things chosen by name, from modules of a package and from the entry points of other packages."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from schemas.registry import Registry


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, with a package ``zoo`` whose module ``cat`` registers itself."""
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "__init__.py").write_text(
        "from schemas.registry import Registry\nANIMALS = Registry('animals', 'zoo')\n"
    )
    (tmp_path / "zoo" / "cat.py").write_text("import zoo\nzoo.ANIMALS.register('cat')('miaow')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in {"zoo", "farm"}]:
        del sys.modules[name]


def _installed(folder: Path, entry_point: str, code: str) -> None:
    """Another package with one entry point, as an installer leaves it."""
    (folder / "farm.py").write_text(code)
    (folder / "farm-1.0.dist-info").mkdir()
    (folder / "farm-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: farm\nVersion: 1.0\n")
    (folder / "farm-1.0.dist-info" / "entry_points.txt").write_text(f"[mer.animals]\n{entry_point}\n")


def _animals() -> Registry[str]:
    import zoo  # type: ignore[import-not-found]

    return zoo.ANIMALS  # type: ignore[no-any-return]


def test_modules_of_the_package_register_themselves(packages: Path) -> None:
    assert _animals().names() == ["cat"]
    assert _animals()["cat"] == "miaow"


def test_modules_of_packages_inside_register_themselves_too(packages: Path) -> None:
    (packages / "zoo" / "birds").mkdir()
    (packages / "zoo" / "birds" / "__init__.py").write_text("")
    (packages / "zoo" / "birds" / "owl.py").write_text("import zoo\nzoo.ANIMALS.register('owl')('hoot')\n")
    assert _animals().names() == ["cat", "owl"]


@pytest.mark.parametrize(
    ("entry_point", "code"),
    [
        ("cow = farm:MOO", "MOO = 'moo'\n"),
        ("herd = farm", "import zoo\nzoo.ANIMALS.register('cow')('moo')\n"),
    ],
    ids=["an item", "a module"],
)
def test_another_package_adds_to_them(packages: Path, entry_point: str, code: str) -> None:
    _installed(packages, entry_point, code)
    assert _animals().names() == ["cat", "cow"]
    assert _animals()["cow"] == "moo"
    assert [_animals().owner(name) for name in ("cat", "cow")] == ["madv-mer", "farm"]


def test_an_unknown_name_is_answered_with_those_there_are(packages: Path) -> None:
    with pytest.raises(ConfigError, match=r"'cta' is not among the animals; did you mean cat\? There are cat"):
        _animals()["cta"]


def test_a_broken_package_is_named(packages: Path) -> None:
    _installed(packages, "cow = farm:MOO", "raise ValueError('no milk')\n")
    with pytest.raises(ConfigError, match=r"farm: its entry point cow of mer\.animals fails: no milk"):
        _animals().names()


def test_one_name_means_one_item(packages: Path) -> None:
    _installed(packages, "cat = farm:MOO", "MOO = 'moo'\n")
    with pytest.raises(ConfigError, match="two animals are called cat"):
        _animals().names()
