"""Time of `mer push` and `mer pull` beside copying without checks, and of reading a store from S3 in place.

    python -m tests.benchmarks.sharing --megabytes 2000 --folder /somewhere/large

All in one run, since ratios are what can be compared between machines. The S3 server is one on loopback, in a process
of its own; it is slower than a real one, and nothing is waited for on the way. Every copy is compared by hash.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
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


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with TemporaryDirectory(dir=arguments.folder) as folder:
        command = [sys.executable, "-c", SERVER, folder]
        server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            endpoint, web = server.stdout.readline().split()
            os.environ |= {
                "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "mer", "AWS_SECRET_ACCESS_KEY": "mer",
                "AWS_DEFAULT_REGION": "us-east-1", "MER_CACHE": f"{folder}/cache",
            }  # fmt: skip
            clips = max(2, round(arguments.megabytes / (FRAMES * SIZE * SIZE * 3 / 1e6)))
            measure(Path(folder), web, clips=clips)
        finally:
            server.kill()


def measure(folder: Path, web: str, *, clips: int) -> None:
    """All figures, for a store of so many clips; ``web`` is the folder's URL."""
    s3 = fsspec.filesystem("s3")
    s3.mkdir("team")
    store, changed = (
        noise_store(folder / name, clips, redone) for name, redone in (("s.zarr", 0), ("changed.zarr", 1))
    )
    size = sum(stored["bytes"] for stored in store.manifest.all_objects().values())
    print(f"{clips} clips, {size / 1e6:.0f} MB; load of the machine {os.getloadavg()[0]:.1f}")
    base: dict[str, float] = {}

    def row(what: str, action: Callable[[], object], against: str = "", moved: int = size) -> None:
        started = time.perf_counter()
        action()
        base[what] = seconds = time.perf_counter() - started
        ratio = f"{seconds / base[against]:6.2f} x {against}" if against else ""
        print(f"{what:46} {seconds:7.2f} s {moved / seconds / 1e6:7.0f} MB/s  {ratio}", flush=True)

    row("cp -r", lambda: subprocess.run(["cp", "-r", store.path, folder / "cp"], check=True))
    row("cp -r, flushed to disk", lambda: copied(store.path, folder / "flushed"), "cp -r")
    if shutil.which("rsync"):
        row(
            "rsync -a", lambda: subprocess.run(["rsync", "-a", f"{store.path}/", folder / "rsync"], check=True), "cp -r"
        )
    flushed = "cp -r, flushed to disk"
    row("push to a folder", lambda: pushed(store, str(folder / "pushed.zarr")), flushed)
    row("pull from a folder", lambda: pull(str(store.path), folder / "pulled.zarr", console=QUIET), flushed)
    row("pack", lambda: pack(store, folder / "s.zip"), flushed)
    row("unpack", lambda: unpack(folder / "s.zip", folder / "unpacked.zarr"), flushed)
    row("fsspec.put to S3", lambda: s3.put(str(store.path), "team/plain.zarr", recursive=True))
    row("push to S3", lambda: pushed(store, "s3://team/s.zarr"), "fsspec.put to S3")
    row("fsspec.get from S3", lambda: s3.get("team/plain.zarr", str(folder / "got"), recursive=True))
    row("pull from S3", lambda: pull("s3://team/s.zarr", folder / "back.zarr", console=QUIET), "fsspec.get from S3")
    for copy in ("cp", "pushed.zarr", "pulled.zarr", "unpacked.zarr", "got", "back.zarr"):
        assert tree_hash(folder / copy) == tree_hash(store.path), copy
    one = size // clips
    row("push to S3 again, nothing changed", lambda: pushed(store, "s3://team/s.zarr"), "push to S3", 0)
    row("push to S3, one clip redone", lambda: pushed(changed, "s3://team/s.zarr"), "push to S3", one)
    row(
        "pull from S3, one clip redone",
        lambda: pull("s3://team/s.zarr", folder / "back.zarr", console=QUIET),
        "pull from S3",
        one,
    )
    assert tree_hash(folder / "back.zarr") == tree_hash(changed.path)
    row("training reads, local", lambda: read(str(folder / "back.zarr")))
    row("training reads, S3, cold cache", lambda: read("s3://team/s.zarr"), "training reads, local")
    row("training reads, S3, warm cache", lambda: read("s3://team/s.zarr"), "training reads, local")
    for what, name in (("web server", "s.zarr"), ("zip on a web server", "s.zip")):  # the S3 server reads all of it
        shutil.rmtree(os.environ["MER_CACHE"])
        row(f"training reads, {what}, cold cache", partial(read, f"{web}/{name}"), "training reads, local")


def copied(source: Path, target: Path) -> None:
    """``cp -r``, and then every file flushed to disk, as ``mer`` does."""
    subprocess.run(["cp", "-r", source, target], check=True)
    for file in target.rglob("*"):
        with suppress(IsADirectoryError), file.open("rb") as stream:
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


if __name__ == "__main__":
    main()
