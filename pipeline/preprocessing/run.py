"""Carry out a plan: take the lock, go on where an earlier run stopped, process, commit."""

import logging
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event

from rich.console import Console

from pipeline.preprocessing import clip_tasks, cluster
from pipeline.preprocessing.backends import build_processor
from pipeline.preprocessing.finish import finish_store, records_of, sweep_partial_files
from pipeline.preprocessing.journal import ClipRecord, Journal, JournalHeader
from pipeline.preprocessing.plan import Plan
from schemas.config import Execution
from schemas.differences import now_and_there
from schemas.errors import ManifestMissingError, StoreExistsError
from schemas.layout import SPECS, object_path
from schemas.manifest import MANIFEST_NAME, Manifest
from schemas.output import locked, output_errors
from schemas.progress import Progress
from schemas.rows import Table, rows_of, table_of
from schemas.store.files import Folder, stored_object
from schemas.store.format import create_arrays
from schemas.store.manifest_file import JOURNAL_NAME, read_manifest
from schemas.store.reader import Store
from schemas.words import count

log = logging.getLogger("mer")


def execute(
    plan: Plan,
    execution: Execution,
    console: Console,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
) -> Manifest:
    """Run a plan to the end, or go on with an interrupted one.

    A complete store of the same config is returned as it is. With ``retry_failed`` its failed clips are
    tried again; with ``overwrite`` whatever store is there is replaced.

    Raises:
        StoreExistsError: there is a store, or an unfinished one, of another config; the fields are named.
        OutputLockedError: another run is writing this store.
        StoreWriteError: disk full, read-only, gone. What was finished stays, and the run can go on.
        RunError: the cluster cannot be used.
        ClusterLostError: the cluster is lost.
    """
    with ExitStack() as stack:
        stack.enter_context(locked(plan.out))
        if overwrite and plan.out.exists():
            _delete_store(plan.out)
        journal = Journal(plan.out)
        complete = _complete_store(plan)
        if complete is not None and not (retry_failed and _failed(complete)):
            journal.remove()  # left where a run was killed between its last two steps
            return complete
        try:
            earlier = taken_up(plan, journal, complete)
            new = _missing(plan, earlier)
            records: dict[int, ClipRecord] = {}
            with (
                Progress(console, unit="clips", total=len(plan.clips), done=len(earlier)) as progress,
                _wrong_bytes(plan.out, rows_of(earlier)) as wrong,
            ):
                for record in _new_and_wrong(plan, execution, console, new, wrong):
                    journal.append(record)
                    records[record.index] = record
                    progress.advance(failed=record.entry.status == "failed")
                    if (failure := record.entry.failure) is not None:
                        log.warning("%s failed at %s: %s", record.entry.key, failure.stage, failure.message)
            sweep_partial_files(plan.out, [*new, *wrong.result()])
            records = {record.index: record for record in earlier} | records
            manifest = finish_store(plan, [records[index] for index in range(len(plan.clips))])
            journal.remove()
        finally:
            journal.close()
        return manifest


def is_store(path: Path) -> bool:
    """Whether a folder is a store or an unfinished one, so that it may be replaced."""
    names = {child.name for child in path.iterdir() if child.suffix != ".partial"}
    return not names or bool(names & {MANIFEST_NAME, JOURNAL_NAME}) or names <= {"zarr.json", *SPECS}


def _new_and_wrong(
    plan: Plan, execution: Execution, console: Console, new: Iterable[int], wrong: Future[list[int]]
) -> Iterator[ClipRecord]:
    yield from _process(plan, execution, console, new)
    yield from _process(plan, execution, console, wrong.result())


def _process(plan: Plan, execution: Execution, console: Console, indices: Iterable[int]) -> Iterator[ClipRecord]:
    tasks = [(index, plan.clips[index]) for index in indices]
    if not tasks:
        return
    build = partial(build_processor, plan.backends, plan.root, plan.out)
    with ExitStack() as stack:
        if execution.workers == 0 and execution.scheduler is None:
            run = stack.enter_context(clip_tasks.in_process(build))
        else:
            client = stack.enter_context(cluster.connect(execution, device=plan.provenance.device, clips=len(tasks)))
            clip_tasks.check_workers(client, root=plan.root, out=plan.out, device=plan.provenance.device)
            console.print(f"{count(len(client.nthreads()), 'worker')}, dashboard {client.dashboard_link}")
            run = stack.enter_context(clip_tasks.on_cluster(build, client, device=plan.provenance.device))
        yield from run(tasks)


def _complete_store(plan: Plan) -> Manifest | None:
    """The manifest of a complete store of this plan's config, ``None`` where there is no complete store."""
    try:
        manifest = read_manifest(plan.out)
    except ManifestMissingError:
        if plan.out.exists() and not (plan.out.is_dir() and is_store(plan.out)):
            raise StoreExistsError(f"{plan.out}: exists and is not a store of mer; choose another --out") from None
        return None
    differences = plan.provenance.config.differences(manifest.provenance.config)
    if not differences and [entry.key for entry in manifest.rows] != [clip.key for clip in plan.clips]:
        differences = {"clips": (f"{len(plan.clips)} on disk", f"{len(manifest.clips)} others in the store")}
    _refuse(plan.out, "a complete store", {**differences, **_changed_for_sharing(manifest)})
    return manifest


def _changed_for_sharing(manifest: Manifest) -> dict[str, tuple[object, object]]:
    """What no run makes: such a store is not what the command would give, and must not be retried into."""
    changes = {
        "merged runs": len(manifest.further_provenances),
        "left out": ", ".join(manifest.left_out),
        "renamed subjects": bool(manifest.pseudonyms),
        "relabelled clips": sum(any(f.kind == "relabelled" for f in entry.findings) for entry in manifest.rows),
    }
    return {name: ("none", found) for name, found in changes.items() if found}


def taken_up(plan: Plan, journal: Journal, complete: Manifest | None) -> Table[ClipRecord]:
    """Bring the output to the state "under way"; returns the records of an earlier run whose objects are there.

    Their sizes are right; their bytes are hashed while other clips are processed.

    Args:
        plan: the run's.
        journal: of the output; it is open for appending on return.
        complete: the manifest of a store whose failed clips are tried again.
    """
    begun = journal.read() if complete is None else None
    if complete is not None:
        done = _of_complete_store(plan, complete)
    else:
        done = Table(ClipRecord, ()) if begun is None else _of_unfinished_store(plan, *begun)
    files = Folder(plan.out)
    records = done.where(lambda record: _is_there(files, record))
    if complete is None and begun is None:
        with output_errors(plan.out):
            create_arrays(plan.out, plan.dimensions)
    sweep_partial_files(plan.out, _missing(plan, records))
    journal.begin(plan.header, records)
    (plan.out / MANIFEST_NAME).unlink(missing_ok=True)
    if records:
        log.info("%s: going on after %d of %d clips", plan.out, len(records), len(plan.clips))
    return records


def _missing(plan: Plan, records: Table[ClipRecord]) -> list[int]:
    there = {record.index for record in rows_of(records)}
    return [index for index in range(len(plan.clips)) if index not in there]


def _of_complete_store(plan: Plan, complete: Manifest) -> Table[ClipRecord]:
    store = Store(plan.out, complete)
    differences = plan.provenance.differences(complete.provenance)
    if not differences and (frames := store.array("frame_number").shape[1]) != plan.dimensions.frames:
        differences = {"frames": (plan.dimensions.frames, frames)}
    _refuse(plan.out, "a complete store", differences)
    return table_of(ClipRecord, records_of(store))


def _of_unfinished_store(plan: Plan, header: JournalHeader, records: Table[ClipRecord]) -> Table[ClipRecord]:
    differences = plan.provenance.differences(header.provenance)
    if not differences and header != plan.header:
        differences = {"clips": ("as on disk today", "as on disk when that run began")}
    _refuse(plan.out, "an unfinished store", differences)
    last = {record.index: position for position, record in enumerate(rows_of(records))}  # of one processed again
    return Table(ClipRecord, [records.rows[position] for position in last.values()])


def _is_there(files: Folder, record: ClipRecord) -> bool:
    if record.entry.status == "failed":
        return False
    objects = record.entry.objects.items()
    return all(files.size(object_path(array, record.index)) == expected["bytes"] for array, expected in objects)


@contextmanager
def _wrong_bytes(out: Path, records: Iterable[ClipRecord]) -> Iterator[Future[list[int]]]:
    """Clips that are there, but not as they were written: hashed in a thread, which ends with the block."""
    left = Event()

    def wrong() -> list[int]:
        return [record.index for record in records if not left.is_set() and not _holds(out, record)]

    with ThreadPoolExecutor(1) as pool:  # it waits for the disk, and hashing lets other threads run
        try:
            yield pool.submit(wrong)
        finally:
            left.set()


def _holds(out: Path, record: ClipRecord) -> bool:
    for array, expected in record.entry.objects.items():
        file = out / object_path(array, record.index)
        if stored_object(file) != expected:
            log.warning("%s: %s is not what was written; processing the clip again", record.entry.key, file)
            return False
    return True


def _failed(manifest: Manifest) -> bool:
    return any(entry.status == "failed" for entry in manifest.rows)


def _refuse(out: Path, what: str, differences: dict[str, tuple[object, object]]) -> None:
    if differences:
        raise StoreExistsError(
            f"{out}: holds {what} that was made otherwise:\n{now_and_there(differences)}\n"
            "choose another --out, or replace it with --overwrite"
        )


def _delete_store(out: Path) -> None:
    if not is_store(out):
        raise StoreExistsError(f"{out}: is not a store of mer, and is not deleted; choose another --out")
    with output_errors(out):
        shutil.rmtree(out)
