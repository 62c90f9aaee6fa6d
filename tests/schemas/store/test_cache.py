"""The cache of objects from URLs: never larger than its limit for long, and nobody who reads is disturbed."""

import hashlib
import os
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from schemas.errors import ConfigError
from schemas.manifest import StoredObject
from schemas.store.cache import ObjectCache, size_limit
from schemas.store.location import StoreUrl
from schemas.store.remote import Remote

NAMES = [f"texture/c/{number}/0/0/0/0" for number in range(5)]
CONTENT = {name: bytes([number]) * 100 for number, name in enumerate(NAMES)}


@pytest.fixture
def remote() -> Remote:
    """Five objects of 100 bytes."""
    url = f"memory://{uuid4().hex}"
    for name, data in CONTENT.items():
        fsspec.filesystem("memory").pipe_file(f"{url}/{name}", data)
    objects: dict[str, StoredObject] = {
        name: {"bytes": 100, "sha256": hashlib.sha256(data).hexdigest()} for name, data in CONTENT.items()
    }
    return Remote(StoreUrl(url), objects)


def test_the_least_recently_used_objects_go_first(remote: Remote, tmp_path: Path) -> None:
    """Three fit. The oldest is used once more, so that the second is the one to go; who reads it reads on."""
    cache = ObjectCache(tmp_path, limit=330)

    def cached() -> set[str]:
        names = {stored["sha256"]: name for name, stored in remote.objects.items()}
        return {names[path.name] for path in tmp_path.glob("??/*")}

    def read(name: str) -> bytes:
        with cache.open(remote, name, remote.objects[name]) as file:
            return file.read()

    for age, name in zip((300, 200, 100), NAMES, strict=False):
        assert read(name) == CONTENT[name]
        sha256 = remote.objects[name]["sha256"]
        now = (tmp_path / sha256[:2] / sha256).stat().st_mtime
        os.utime(tmp_path / sha256[:2] / sha256, (now - age, now - age))
    assert cached() == set(NAMES[:3])
    assert read(NAMES[0]) == CONTENT[NAMES[0]]
    with cache.open(remote, NAMES[1], remote.objects[NAMES[1]]) as held:
        sha256 = remote.objects[NAMES[1]]["sha256"]
        os.utime(tmp_path / sha256[:2] / sha256, (0, 0))
        assert read(NAMES[3]) == CONTENT[NAMES[3]]
        assert NAMES[1] not in cached()
        assert held.read() == CONTENT[NAMES[1]], "an open file is readable although it is deleted"
    assert NAMES[3] in cached()
    assert sum(100 for _ in cached()) <= 330
    assert read(NAMES[1]) == CONTENT[NAMES[1]], "what was deleted is fetched again"


def test_an_object_larger_than_the_limit_is_still_read(remote: Remote, tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, limit=50)
    for name in NAMES:
        with cache.open(remote, name, remote.objects[name]) as file:
            assert file.read() == CONTENT[name]
        assert [file.read_bytes() for file in tmp_path.glob("??/*")] == [CONTENT[name]], "the last one stays"


@pytest.mark.parametrize(
    ("text", "size"),
    [("50GB", 50 * 10**9), ("1.5 TB", 1_500_000_000_000), ("500mb", 500_000_000), ("123", 123), ("0", 0), ("2k", 2000)],
)
def test_the_size_limit_is_typed_as_people_do(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_CACHE_SIZE", text)
    assert size_limit() == size


def test_the_default_limit_and_what_is_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MER_CACHE_SIZE", raising=False)
    assert size_limit() == 50 * 10**9
    for text in ("much", "-1", "50 GiBB", "1e400GB"):
        monkeypatch.setenv("MER_CACHE_SIZE", text)
        with pytest.raises(ConfigError, match=r"MER_CACHE_SIZE is .*expected a number of bytes, or a size like 50GB"):
            size_limit()
