"""CPU seconds of commands on a store of 100,000 clips, and of going on with a run of which nine clips in ten are done.

    python -m tests.benchmarks.scale --runs

Every figure is of a process of its own, as a user's is. Each is also taken on a store of 50 clips, which is what
starting costs; the difference is what the clips cost. The limit of what opens a store is msgspec making dicts of the
manifest; that of `mer verify`, hashing the same bytes with hashlib alone. ``--runs`` measures the peak memory of real
runs of 50 and of 500 clips instead.
"""

import argparse
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from rich.console import Console
from rich.table import Table

from pipeline.preprocessing.finish import records_of, write_store
from pipeline.preprocessing.journal import ClipRecord, Journal
from pipeline.preprocessing.plan import Plan, plan_run
from pipeline.preprocessing.run import execute, taken_up
from pipeline.sharing.pack import pack
from schemas.clip import Clip, DatasetScan, VideoSegment
from schemas.config import Execution, PreprocessConfig
from schemas.labels import Emotion, Label
from schemas.layout import object_path
from schemas.manifest import MANIFEST_NAME, ClipEntry
from schemas.rows import table_of
from schemas.store.format import Dimensions, create_arrays
from schemas.store.reader import Store
from tests.benchmarks.table import Beside, Goal, Row
from tests.tiny_stores import SIZE, UNITS, tiny_store

FRAMES = 12
EMOTIONS: tuple[Emotion, ...] = ("happiness", "disgust", "repression", "surprise", "others")
KEYS = "keys.txt"
SMALL = 50  # clips of the store that shows what starting costs
MER = "import sys; sys.argv = ['mer', {}]; import cli; cli.main()"
PARSING = "import msgspec; msgspec.json.decode(open('{0}/s.zarr/manifest.json', 'rb').read())"
HASHING = """
import hashlib, os
for folder, _, names in os.walk('{0}/s.zarr'):
    for name in names:
        with open(folder + '/' + name, 'rb') as file: hashlib.file_digest(file, 'sha256')"""
PROGRAMS = {  # and how many manifests each reads
    "opening": ("from schemas.store.reader import Store; Store.open('{0}/s.zarr')", 1),
    "opening its zip file": ("from schemas.store.reader import Store; Store.open('{0}/s.zip')", 1),
    "`mer inspect`": (MER.format("'inspect', '{0}/s.zarr'"), 1),
    "`mer cite`": (MER.format("'cite', '{0}/s.zarr'"), 1),
    "`mer subset`, 3 clips": (
        MER.format("'subset', '{0}/s.zarr', '-o', '{0}/3.zarr', '--where', 'clip=EP000001|EP000007|EP000008'"), 1
    ),
    "`mer diff`, equal": (MER.format("'diff', '{0}/s.zarr', '{0}/s.zarr'"), 2),
    "`mer diff`, one label differs": (MER.format("'diff', '{0}/s.zarr', '{0}/other.zarr'"), 2),
    "planning of `mer train`": ("from tests.benchmarks.scale import planned; planned('{0}/s.zarr')", 1),
}  # fmt: skip
RESUME = "from tests.benchmarks.scale import resumed; resumed('{0}')"
VERIFY = MER.format("'verify', '{0}/s.zarr'")
START_UP = {"'--help'": 0.3, "'inspect', '{0}/s.zarr'": 0.7, "'verify', '{0}/s.zarr'": 0.7}  # s of CPU


def rows(*, short: bool) -> Iterator[Row]:
    """Starting, and what 100,000 clips add to it."""
    with TemporaryDirectory() as folder:
        if short:
            yield from measured(Path(folder), list(PROGRAMS)[-1:], small=SMALL, clips=60)
        else:
            yield from measured(Path(folder), list(PROGRAMS), small=SMALL, clips=100_000)


def measured(folder: Path, commands: list[str], *, small: int, clips: int) -> Iterator[Row]:
    """The rows of two stores."""
    unit, few, many = "s of CPU", *(prepared(folder / str(count), count) for count in (small, clips))

    def added(program: str) -> float:
        return cost(program.replace("{0}", str(many))) - cost(program.replace("{0}", str(few)))

    for arguments, most in START_UP.items():
        program = MER.format(arguments).replace("{0}", str(few))
        seconds = cost(program)
        what, goal = f"`mer {arguments.split(chr(39))[1]}`, {small} clips", Goal("≤", most, "itself")
        yield Row(what=what, unit=unit, ours=seconds, goal=goal, why=imports(program))
    parsing, goal = added(PARSING), Goal("≤", 2, "beyond")
    for what in commands:
        program, files = PROGRAMS[what]
        limit = Beside(files * parsing, "parsing the JSON" if files == 1 else "parsing both")
        row = Row(what=f"{what}, {clips:,} clips", unit=unit, ours=added(program), limit=limit, goal=goal)
        yield explained(row, program, many)
    limit, goal = Beside(added(HASHING), "hashing the files"), Goal("≤", 2, "limit")
    row = Row(what=f"`mer verify`, {clips:,} clips", unit=unit, ours=added(VERIFY), limit=limit, goal=goal)
    yield explained(row, VERIFY, many)
    begin_again(many)
    what, goal = f"resume with 90 % of {clips:,} clips done", Goal("≤", 10, "itself")
    yield explained(Row(what=what, unit=unit, ours=cost(RESUME.replace("{0}", str(many))), goal=goal), RESUME, many)


def explained(row: Row, program: str, folder: Path) -> Row:
    """The row, with a profile of what it measured where its goal is missed."""
    return row if row.met else replace(row, why=profiled(program.replace("{0}", str(folder))))


def main() -> None:
    """Print the peak memory of real runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", action="store_true", required=True, help="peak memory of real runs")
    parser.parse_args()
    with TemporaryDirectory() as folder:
        runs(Path(folder))


def cost(program: str) -> float:
    """CPU seconds of a program in a process of its own."""
    measured = f"""
import resource
try:
    exec({program!r})
except SystemExit as end:
    assert end.code in (None, 0, 1), end.code
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime)
"""
    out = subprocess.run([sys.executable, "-c", measured], stdout=subprocess.PIPE, check=True, text=True).stdout
    return float(out.splitlines()[-1])


def imports(program: str) -> str:
    """The packages whose own modules take longest to import."""
    run = subprocess.run([sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True)
    spent = Counter[str]()
    for own, module in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\w+)", run.stderr, re.MULTILINE):
        spent[module] += int(own)
    parts = (f"{package} {own / spent.total():.0%}".replace("%", " %") for package, own in spent.most_common(5))
    return f"{spent.total() / 1e6:.2f} s of importing, with its clock: {', '.join(parts)}"


def profiled(program: str) -> str:
    """Where a program's time goes, in a process of its own."""
    told = f"from tests.benchmarks.profiles import shares; told = shares(lambda: exec({program!r}, {{}})); print(told)"
    out = subprocess.run([sys.executable, "-c", told], stdout=subprocess.PIPE, check=True, text=True).stdout
    return out.splitlines()[-1]


def prepared(folder: Path, count: int) -> Path:
    """A store of so many clips, one with another label, and a packed one."""
    one = tiny_store(folder / "one.zarr", ["casme2/sub01/EP01"], depth=False, frames=FRAMES)
    path, pixels = folder / "s.zarr", (one.path / object_path("texture", 0)).read_bytes()
    records = sorted(
        (renamed(record, i, count, pixels) for record in records_of(one) for i in range(count)), key=key_of
    )
    records = [record.model_copy(update={"index": index}) for index, record in enumerate(records)]
    dimensions = Dimensions(count, FRAMES, SIZE, UNITS, depth=False, au_frames=False)
    create_arrays(path, dimensions)
    for record in records:
        file = path / object_path("texture", record.index)
        file.parent.mkdir(parents=True)
        file.write_bytes(marked(pixels, record.entry.key))
    manifest = write_store(path, dimensions, records, one.manifest)
    pack(Store.open(path), folder / "s.zip")
    clips = (*manifest.clips[:-1], relabelled(manifest.clips[-1]))
    other = manifest.model_copy(update={"clips": clips}).sealed().model_dump_json(exclude_defaults=True)
    shutil.copytree(path, folder / "other.zarr", ignore=lambda at, _: {"c"} if at.endswith("/texture") else ())
    (folder / "other.zarr" / MANIFEST_NAME).write_text(other + "\n")
    return folder


def begin_again(folder: Path) -> None:
    """Make of the store a run of which nine clips in ten are done; a copy of its half million folders takes minutes."""
    records = list(records_of(Store.open(folder / "s.zarr")))
    begun = (folder / "s.zarr").rename(folder / "begun.zarr")
    (begun / MANIFEST_NAME).unlink()
    journal = Journal(begun)
    done = table_of(ClipRecord, records[: len(records) * 9 // 10])
    journal.begin(plan_of(begun, map(key_of, records)).header, done)
    journal.close()
    (folder / KEYS).write_text("\n".join(map(key_of, records)))  # a run has them of its scan


def marked(pixels: bytes, key: str) -> bytes:
    """Bytes that no other clip has, as many and of the kind that are hashed; here nobody decodes them."""
    return key.encode() + pixels


def renamed(record: ClipRecord, number: int, count: int, pixels: bytes) -> ClipRecord:
    """A clip of one of many subjects, with figures of its own, as those of a real one are."""
    entry = record.entry
    assert entry.source is not None
    assert entry.quality is not None
    emotion, key = EMOTIONS[number % len(EMOTIONS)], f"casme2/sub{number % max(10, count // 100):04d}/EP{number:06d}"
    data = marked(pixels, key)
    update = {
        "key": key,
        "objects": {"texture": {"bytes": len(data), "sha256": sha256(data).hexdigest()}},
        "label": entry.label.model_copy(update={"emotion": emotion, "raw_emotion": emotion}),
        "source": entry.source.model_copy(update={"sha256": sha256(str(number).encode()).hexdigest()}),
        "quality": entry.quality.model_copy(update={"residual_motion_px": 0.1 + number % 977 / 1777}),
    }
    return record.model_copy(update={"entry": entry.model_copy(update=update)})


def relabelled(entry: ClipEntry) -> ClipEntry:
    """The clip with a label that no other has."""
    return entry.model_copy(update={"label": entry.label.model_copy(update={"emotion": "fear"})})


def key_of(record: ClipRecord) -> str:
    """The key of its clip."""
    return record.entry.key


def plan_of(out: Path, keys: Iterable[str]) -> Plan:
    """The run that would make a store of these clips."""
    frames = VideoSegment(path="video.avi", count=FRAMES)
    clips = [
        Clip(
            dataset=dataset,
            subject=subject,
            name=name,
            source=frames,
            onset=1,
            apex=2,
            offset=9,
            fps=200,
            label=Label(),
        )
        for dataset, subject, name in (key.split("/") for key in keys)
    ]
    scan = DatasetScan(dataset="casme2", layout="raw", annotation=None, clips=tuple(clips))
    config = PreprocessConfig(dataset="casme2", depth="none", au="mesh", size=SIZE)
    return plan_run(out.parent, out, scan, config, Execution(device="cpu", workers=0))


def resumed(folder: str) -> None:
    """Go on with the run, up to where the first clip would be processed."""
    out = Path(folder) / "begun.zarr"
    keys = (Path(folder) / KEYS).read_text().splitlines()
    journal = Journal(out)
    records = taken_up(plan_of(out, keys), journal, None)
    journal.close()
    assert len(records) == len(keys) * 9 // 10


def planned(store: str) -> None:
    """All that is settled before a model is trained, by subject."""
    from training.config import TrainConfig
    from training.runs.plan import plan_training

    config = TrainConfig(model="ststnet", protocol="casme2-5/kfold-5", counts="any", size=SIZE, motion="none")
    assert len(plan_training([Store.open(store)], config, "cpu").run.folds) == 5


def runs(folder: Path) -> None:
    """Peak memory of real runs, which have to stay as they are however many clips there are."""
    from pipeline.datasets import scan_dataset
    from pipeline.synthesis.generator import synthesise

    synthesise("casme2", folder / "raw", subjects=1, clips=1, frames=FRAMES, seed=0)
    root, scan = scan_dataset(folder / "raw")
    table = Table(
        "clips", "peak of `mer` itself, MB", "peak of a worker, MB", "clips/s", title="2 workers, mesh, 112 px"
    )
    for count in (50, 500):
        peak, seconds = run(root, folder / f"{count}.zarr", scan, count)
        table.add_row(str(count), f"{peak['main'] / 1e6:.0f}", f"{peak['worker'] / 1e6:.0f}", f"{count / seconds:.1f}")
    Console().print(table)


def run(root: Path, out: Path, scan: DatasetScan, count: int) -> tuple[dict[str, int], float]:
    """Process ``count`` copies of one clip; returns peak resident bytes, and seconds."""
    clip = scan.clips[0]
    clips = tuple(clip.model_copy(update={"name": f"clip{i:05d}"}) for i in range(count))
    execution = Execution(workers=2, device="cpu")
    config = PreprocessConfig(dataset=scan.dataset, depth="mesh", au="mesh", size=112)
    plan = plan_run(root, out, scan.model_copy(update={"clips": clips}), config, execution)
    started = time.perf_counter()
    with peak_memory() as peak:
        execute(plan, execution, Console(quiet=True))
    return peak, time.perf_counter() - started


@contextmanager
def peak_memory() -> Iterator[dict[str, int]]:
    """Largest resident size of this process and of any child, sampled ten times a second."""
    peak, done, me = {"main": 0, "worker": 0}, threading.Event(), psutil.Process()

    def sample() -> None:
        while not done.wait(0.1):
            peak["main"] = max(peak["main"], me.memory_info().rss)
            for child in me.children(recursive=True):
                try:
                    peak["worker"] = max(peak["worker"], child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()
