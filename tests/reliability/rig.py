"""All that is tried, on a small dataset of real faces and a small store to train on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.synthesis.generator import synthesise
from schemas.store.reader import Store
from tests.conftest import run_preprocess
from tests.reliability.damage import copied, damage_often
from tests.reliability.full_disk import fill_often
from tests.reliability.kills import Command, kill_often
from tests.reliability.network import sockets_of
from tests.schemas.store.object_servers import web_server
from tests.training.small_stores import CONFIG, PROTOCOL, small_store

COMMANDS = ("preprocess", "train", "compare", "push", "pull")


@dataclass(frozen=True)
class Figure:
    """A line of the table: how often something was tried, and what was not as promised."""

    what: str
    times: int
    broken: tuple[str, ...]


class Rig:
    """Makes its data in a folder, once.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = folder / "casme2"
        synthesise("casme2", self.raw, subjects=2, clips=2, frames=10, seed=1)
        assert run_preprocess(self.raw, folder / "casme2.zarr") == 0
        self.store = Store.open(folder / "casme2.zarr")
        self.train_store = small_store(folder / "small.zarr", subjects=2)
        (folder / "two.toml").write_text(PROTOCOL)
        config = CONFIG.replace("seeds = [0, 1]", "seeds = [0]")
        (folder / "c.toml").write_text(config)
        (folder / "of-all.toml").write_text(config.partition("[model_options]")[0])

    def run(self, *, kills: int, damages: int, seed: int) -> Iterator[Figure]:
        """Everything, a line each, as it is done."""
        for name in COMMANDS:
            yield self.kill(name, kills=kills, seed=seed)
        for name in COMMANDS:
            yield self.fill(name)
        yield self.damage(damages=damages, seed=seed)
        yield from self.listen()

    def kill(self, name: str, *, kills: int, seed: int = 0) -> Figure:
        """SIGKILL a command at random moments; what it leaves in the end is equal to the byte."""
        with self._command(name) as command:
            done = kill_often(command, self.folder, kills=kills, seed=seed)
        broken = (f"{done.different} of {done.finished} outputs differ",) if done.different else ()
        return Figure(f"SIGKILL of mer {name}, equal bytes in {done.finished} outputs", done.kills, broken)

    def fill(self, name: str, shares: Sequence[float] = (0.05, 0.3, 0.6, 0.9)) -> Figure:
        """Write to a small disk until it is full, enlarge it, and go on; equal bytes in the end."""
        try:
            with self._command(name) as command:
                times, broken = fill_often(command, self.folder, shares)
        except OSError as error:
            return Figure(f"disk full under mer {name}, not tried: {error}", 0, ())
        return Figure(f"disk full under mer {name}, said, and gone on", times, broken)

    def damage(self, *, damages: int, seed: int = 0) -> Figure:
        """Damage files of a store; verifying names each."""
        store = copied(self.store, self.folder / "damaged.zarr")
        return Figure("damage to a store, found", damages, damage_often(store, damages=damages, seed=seed).missed)

    def listen(self) -> Iterator[Figure]:
        """Run with workers: no socket beyond loopback, no call to anybody."""
        out = self.folder / "listening.zarr"
        arguments = [*self._preprocess(out)[:-1], "2"]
        found = sockets_of(arguments, self.folder / "sockets")
        yield Figure("listening sockets, loopback alone", found.listening, found.beyond_loopback)
        yield Figure("runs without an outbound connection", 1, found.calls[:1])

    @contextmanager
    def _command(self, name: str) -> Iterator[Command]:
        config = self.folder / ("of-all.toml" if name == "compare" else "c.toml")
        fixed = ["--store", self.train_store.path, "--protocol", self.folder / "two.toml", "--config", config]
        here = [*fixed, "--partial", "--device", "cpu", "--workers", "0"]
        if name == "preprocess":
            yield Command(name, self._preprocess, ".zarr")
        elif name == "train":
            yield Command(name, lambda out: _texts("train", *here, "--out", out))
        elif name == "compare":
            models = ["--recipe", "fast", "--models", "au-logistic,ststnet"]
            costs = {"./result.json", "cost.csv", "cost.md", "cost.tex"}
            timed = frozenset({"time.json", "done.json", *costs})
            yield Command(name, lambda out: _texts("compare", *here, *models, "--out", out), timed=timed)
        elif name == "push":
            yield Command(name, lambda out: _texts("push", self.store.path, out, "--yes"), ".zarr")
        else:
            with web_server(self.folder) as (url, _):
                yield Command(name, lambda out: _texts("pull", f"{url}/{self.store.path.name}", out), ".zarr")

    def _preprocess(self, out: Path) -> list[str]:
        return _texts("preprocess", self.raw, "--out", out, "--depth", "mesh", "--au", "mesh", "--size", 112,
                      "--device", "cpu", "--workers", 0)  # fmt: skip


def _texts(*arguments: object) -> list[str]:
    return [str(argument) for argument in arguments]
