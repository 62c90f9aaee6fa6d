"""Time of `mer push` and `mer pull` beside copying without checks, and of reading a store from S3 in place.

The S3 server is one on loopback, in a process
of its own; it is slower than a real one, and nothing is waited for on the way. Every copy is compared by hash.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from pipeline.sharing.pack import pack, unpack
from pipeline.sharing.pull import pull
from pipeline.sharing.push import push
from schemas.labels import Label
from schemas.manifest import ClipEntry
from schemas.store.reader import Store
from tests.benchmarks.table import Beside, Goal, Row
from tests.store_builder import DrawnClip, bare_manifest, build_store, columns_of
from tests.tree_hash import tree_hash
from training.data.clips import ClipReader

QUIET = Console(quiet=True)
FRAMES, SIZE = 64, 224  # a clip of noise that does not compress: 9.6 MB
SERVER = """
import sys
from pathlib import Path
from tests.schemas.store.object_servers import s3_server, web_server
with s3_server() as (endpoint, _), web_server(Path(sys.argv[1])) as (url, _):
    print(endpoint, url, flush=True)
    sys.stdin.read()
"""


def rows(*, short: bool) -> Iterator[Row]:
    """A store of 10 or 300 MB."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SERVER, folder]
        server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            endpoint, web = server.stdout.readline().split()
            os.environ |= {
                "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "mer", "AWS_SECRET_ACCESS_KEY": "mer",
                "AWS_DEFAULT_REGION": "us-east-1", "MER_CACHE": f"{folder}/cache",
            }  # fmt: skip
            yield from measured(Path(folder), web, clips=2 if short else 32)
        finally:
            server.kill()


def measured(folder: Path, web: str, *, clips: int) -> Iterator[Row]:
    """All rows, for a store of so many clips; ``web`` is the folder's URL. Seconds, so that less is better."""
    s3 = fsspec.filesystem("s3")
    s3.mkdir("team")
    store, changed = (
        noise_store(folder / name, clips, redone) for name, redone in (("s.zarr", 0), ("changed.zarr", 1))
    )
    took: dict[str, float] = {}

    def timed(what: str, action: Callable[[], object]) -> float:
        started = time.perf_counter()
        action()
        took[what] = time.perf_counter() - started
        return took[what]

    def beside(
        what: str, action: Callable[[], object], peer: str, most: float, why: str, limit: Beside | None = None
    ) -> Row:
        other, goal = Beside(took[peer], peer), Goal("≤", most, "peer")
        return Row(what=f"`{what}`", unit="s", ours=timed(what, action), peer=other, limit=limit, goal=goal, why=why)

    hashing = timed("hash", lambda: [hashlib.sha256(file.read_bytes()) for file in files_of(store.path)])
    limit = Beside(hashing, "SHA-256 alone, one thread")
    plain = timed("cp -r", lambda: subprocess.run(["cp", "-r", store.path, folder / "cp"], check=True))
    flushed = "cp -r, flushed"
    both = timed(flushed, lambda: copied(store.path, folder / "flushed"))
    why = (
        f"alone, on one thread: sha256 {hashing:.1f} s, `cp` {plain:.1f} s, flushing {both - plain:.1f} s; 16 threads "
        "do them beside each other, on what cores there are"
    )
    yield beside("push to a folder", lambda: pushed(store, str(folder / "pushed.zarr")), flushed, 1, why, limit)
    yield beside("pull from a folder", lambda: pulled(str(store.path), folder / "pulled.zarr"), flushed, 1, why, limit)
    timed("pack", lambda: pack(store, folder / "s.zip"))
    timed("unpack", lambda: unpack(folder / "s.zip", folder / "unpacked.zarr"))
    timed("fsspec.put", lambda: s3.put(str(store.path), "team/plain.zarr", recursive=True))
    yield beside("push to S3", lambda: pushed(store, "s3://team/s.zarr"), "fsspec.put", 1, why, limit)
    timed("fsspec.get", lambda: s3.get("team/plain.zarr", str(folder / "got"), recursive=True))
    yield beside("pull from S3", lambda: pulled("s3://team/s.zarr", folder / "back.zarr"), "fsspec.get", 1, why, limit)
    for copy in ("cp", "pushed.zarr", "pulled.zarr", "unpacked.zarr", "got", "back.zarr"):
        assert tree_hash(folder / copy) == tree_hash(store.path), copy
    why = "the manifest is read, sealed and compared, however little changed"
    yield beside("push to S3, nothing changed", lambda: pushed(store, "s3://team/s.zarr"), "push to S3", 0.1, why)
    yield beside("push to S3, one clip redone", lambda: pushed(changed, "s3://team/s.zarr"), "push to S3", 0.1, why)
    again = partial(pulled, "s3://team/s.zarr", folder / "back.zarr")
    yield beside("pull from S3, one clip redone", again, "pull from S3", 0.2, why)
    assert tree_hash(folder / "back.zarr") == tree_hash(changed.path)
    local = "an epoch's reading, local"
    timed(local, lambda: read(str(folder / "back.zarr")))
    why = "it waits for each object, which is then hashed and kept; the next objects are fetched meanwhile"
    yield beside("an epoch's reading, S3, cold cache", lambda: read("s3://team/s.zarr"), local, 3, why)
    yield beside("an epoch's reading, S3, warm cache", lambda: read("s3://team/s.zarr"), local, 1.2, why)
    for name in ("s.zarr", "s.zip"):  # the S3 server reads all of it
        shutil.rmtree(os.environ["MER_CACHE"])
        what = f"an epoch's reading, {name} on a web server, cold cache"
        yield beside(what, partial(read, f"{web}/{name}"), local, 3, why)


def files_of(folder: Path | str) -> Iterator[Path]:
    """All files below."""
    return (path for path in Path(folder).rglob("*") if path.is_file())


def pulled(place: str, out: Path) -> None:
    """Pull, without a word."""
    pull(place, out, console=QUIET)


def copied(source: Path, target: Path) -> None:
    """``cp -r``, and then every file flushed to disk, as ``mer`` does."""
    subprocess.run(["cp", "-r", source, target], check=True)
    for file in files_of(target):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def pushed(store: Store, url: str) -> None:
    """Push, without being asked."""
    push(store, url, confirm=lambda _: True, console=QUIET)


def read(place: str) -> None:
    """Every clip as the trainer reads it."""
    store = Store.open(place)
    reader = ClipReader([store.path], list(store.manifest.index), size=112, inputs=frozenset({"texture"}))
    for _ in reader.read(range(len(reader))):
        pass


def noise_store(path: Path, clips: int, redone: int) -> Store:
    """A store whose first ``redone`` clips are drawn anew."""
    shape = (FRAMES, SIZE, SIZE, 3)
    drawn = (np.random.default_rng([i, i < redone]).integers(0, 256, shape, np.uint8) for i in range(clips))
    return store_of(path, drawn, clips=clips, frames=FRAMES, size=SIZE)


def store_of(path: Path, textures: Iterable[NDArray[np.uint8]], *, clips: int, frames: int, size: int) -> Store:
    """A store of so many clips ``(T, S, S, 3)``."""
    drawn: Iterator[DrawnClip] = (
        (
            ClipEntry(
                key=f"casme2/sub01/EP{index:05d}", status="ok", label=Label(), fps=200, onset=0, apex=1,
                offset=frames - 1, n_frames=frames,
            ),
            {"texture": texture},
            columns_of(frames, 1, np.array([[0.0], [1.0]]), first=0),
        )
        for index, texture in enumerate(textures)
    )  # fmt: skip
    manifest = bare_manifest("casme2", units=["AU04"], config={"size": size})
    return build_store(path, drawn, manifest, clip_count=clips, frames=frames)
