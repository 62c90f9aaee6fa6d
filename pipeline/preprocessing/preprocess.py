"""`mer preprocess`: scan, plan, run, and tell the user what came out."""

import logging
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.datasets import scan_dataset
from pipeline.preprocessing.backends import depth_backend
from pipeline.preprocessing.plan import plan_run
from pipeline.preprocessing.run import execute
from schemas.config import Execution, PreprocessConfig
from schemas.datasets import SYNTHETIC_NOTE
from schemas.errors import AnnotationError
from schemas.manifest import Manifest
from schemas.output import log_file
from schemas.settings import read_toml, validated
from schemas.words import count

log = logging.getLogger("mer")

LONG_DEFAULTS = {"depth": "none", "au": "mesh", "size": 112}  # minutes of video: 38 kB a frame before compression


def preprocess(
    root: Path,
    *,
    out: Path | None,
    options: Mapping[str, Any],
    config_file: Path | None,
    execution: Execution,
    overwrite: bool,
    retry_failed: bool,
    console: Console,
    annotation: Path | None = None,
) -> int:
    """Make a store of the dataset at ``root``, or go on with one that was interrupted.

    Args:
        root: dataset folder, its parent, its image folder, or a video.
        out: store to write; by default ``<dataset>.zarr`` in the current folder.
        options: fields of ``PreprocessConfig`` that the user set.
        config_file: TOML file of the same fields; ``options`` win.
        execution: where to run.
        overwrite: replace whatever store is at ``out``.
        retry_failed: try the failed clips of a complete store again.
        console: where to print.
        annotation: the dataset's spreadsheet; ``None`` looks for it.

    Returns:
        Exit code: 0 all clips are in the store, 1 some or all failed.

    Raises:
        MerError: wrong input or usage; see ``pipeline.preprocessing.run.execute``.
    """
    fields = {**read_toml(config_file), **options}
    if long := bool(fields.get("long")):
        fields = {**LONG_DEFAULTS, **fields}
    root, found = scan_dataset(root, fields.get("dataset"), annotation, long=long)
    if found.disagreement:
        raise AnnotationError(f"{root}: {found.disagreement}")
    config = validated(PreprocessConfig, {**fields, "dataset": found.dataset})
    out = out or Path(f"{found.dataset}{'-long' if long else ''}.zarr")
    plan = plan_run(root, out, found, config, execution)
    say = partial(console.print, markup=False, highlight=False)  # paths and labels may hold brackets
    taken = count(len(plan.clips), "recording" if long else "clip")
    say(f"{found.dataset} ({found.layout}): {taken} -> {out}")
    config = plan.provenance.config
    for name, value in config.model_dump(mode="json", exclude_defaults=True, exclude={"dataset"}).items():
        say(f"  {name} = {value}")
    depth = depth_backend(config)
    if depth is not None and depth.prior:
        say(f"  the depth of {config.depth} has the shape of faces at large: it is not measured on these people")
    if depth is not None and plan.backends.device == "cpu" and (advice := depth.advice_on_cpu(config)):
        print(f"note: {advice}", file=sys.stderr)
    if found.synthetic:
        say(f"  {SYNTHETIC_NOTE}")
    for finding in found.findings:
        say(f"  {finding.kind}: {finding.message}")
    with ExitStack() as stack:
        stack.enter_context(log_file(out.with_name(out.name + ".log")))
        log.info("%d clips of %s, %s", len(plan.clips), root, plan.provenance.model_dump_json())
        try:
            manifest = execute(plan, execution, console, overwrite=overwrite, retry_failed=retry_failed)
        except KeyboardInterrupt:
            log.info("interrupted")
            say("interrupted; what is finished is safe: type the same command again to go on")
            raise
        log.info("complete: %s", Counter(entry.status for entry in manifest.rows))
    return _summarise(manifest, out, console)


def _summarise(manifest: Manifest, out: Path, console: Console) -> int:
    good = sum(entry.status == "ok" for entry in manifest.rows)
    failures = {entry.key: entry.failure for entry in manifest.rows if entry.failure is not None}
    if failures:
        table = Table("clip", "stage", "what happened", title=f"{count(len(failures), 'clip')} failed")
        for key, failure in failures.items():
            table.add_row(escape(key), failure.stage, escape(f"{failure.error}: {failure.message}"))
        console.print(table)
    if good:
        outcome = f"{out}: complete, {count(good, 'clip')}" + (f", {len(failures)} failed" if failures else "")
    else:
        outcome = f"all {len(failures)} clips failed: {out} holds no data"
    advice = "once they are mended, add --retry-failed to the same command" if failures else f"next: mer inspect {out}"
    console.print(f"{outcome}\n{advice}", markup=False, highlight=False)
    return 1 if failures else 0
