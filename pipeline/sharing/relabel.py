"""`mer relabel`: a store with other labels, which says what was changed and by which table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.datasets.facs import parse_action_units
from pipeline.datasets.row_labels import EMOTIONS, look_up_emotion, objective_class
from pipeline.datasets.spreadsheet import read_workbook
from pipeline.datasets.tables import Row, find_table
from pipeline.sharing.clip_copies import Part, assemble, frames_of, parts_of
from schemas.clip import Finding
from schemas.errors import AnnotationError
from schemas.labels import Label
from schemas.manifest import Manifest
from schemas.store.files import stored_object
from schemas.store.reader import Store

_LABELS = ("emotion", "action_units", "objective_class")


def relabel(store: Store, table: Path, out: Path) -> tuple[Manifest, int]:
    """Write a store with the labels that a table gives to its clips; everything else is copied.

    A changed clip says so in a finding: every label before and after, and the table's sha256.

    Args:
        store: to take from.
        table: a sheet with the column ``clip``, the clip's key, and some of ``emotion``, ``action_units`` and
            ``objective_class``. A blank cell leaves a label as it is, ``none`` takes it away.
        out: where nothing may be yet.

    Returns:
        The manifest as it was written, and how many clips have other labels.

    Raises:
        AnnotationError: the table cannot be read, names a clip twice or one that the store lacks, has a label that is
            none, or changes nothing.
        StoreDamagedError: an object is not what its manifest says.
    """
    labels = _labels(table, store)
    by = f"{table.name}, sha256 {stored_object(table)['sha256']}"
    parts = [_relabelled(part, labels.get(part.entry.key, part.entry.label), by) for part in parts_of(store)]
    changed = sum(part.entry.label != entry.label for part, entry in zip(parts, store.manifest.clips, strict=True))
    if not changed:
        raise AnnotationError(f"{table}: {store.path} has all of these labels already; nothing was written")
    template = store.manifest.model_copy(update={"clips": (), "objects": {}})
    return assemble(out, parts, template, frames=frames_of(store)), changed


def _relabelled(part: Part, label: Label, by: str) -> Part:
    """A clip with another label, and the finding that says so; the clip itself where it is the same."""
    entry, before = part.entry, part.entry.label
    texts = [(name, _text(before, name), _text(label, name)) for name in _LABELS]
    changes = [f"{name} {old!r} -> {new!r}" for name, old, new in texts if old != new]
    if not changes:
        return part
    finding = Finding(kind="relabelled", clip=entry.key, message=f"{', '.join(changes)}, by {by}")
    return replace(part, entry=entry.model_copy(update={"label": label, "findings": (*entry.findings, finding)}))


def _text(label: Label, name: str) -> str | int | None:
    """A label as a message says it."""
    if name == "action_units":
        return None if label.action_units is None else label.action_units.raw
    return label.emotion or label.raw_emotion if name == "emotion" else label.objective_class


def _labels(file: Path, store: Store) -> dict[str, Label]:
    """Clip key -> its labels as the table has them."""
    columns = {name: (name,) for name in ("clip", *_LABELS)}
    table = find_table(read_workbook(file), columns, optional=_LABELS)
    strange = sorted({name for row in table.rows for name in row.cells} - columns.keys())
    if strange or table.fields == {"clip"}:
        found = f"the column {strange[0]!r}" if strange else "no label"
        raise AnnotationError(f"{file}: expected the columns clip and some of {', '.join(_LABELS)}, found {found}")
    own = {entry.label.raw_emotion for entry in store.manifest.rows if entry.label.emotion is None}
    labels: dict[str, Label] = {}
    for row in table.rows:
        key, place = row["clip"], f"{file}, row {row.number}"
        if key not in store.manifest.index:
            raise AnnotationError(
                f"{place}: no clip {key!r} in {store.path}; `mer inspect` lists its clips by their keys"
            )
        if key in labels:
            raise AnnotationError(f"{place}: {key} has a row already")
        try:
            labels[key] = store.entry(key).label.model_copy(update=_fields(row, own))
        except ValueError as error:
            raise AnnotationError(f"{place}, {key}: {error}") from error
    return labels


def _fields(row: Row, own: set[str | None]) -> dict[str, Any]:
    """What a row says, as fields of a label; ``own`` are words that the store has as emotions beyond those we know."""
    fields: dict[str, Any] = {}
    for name in _LABELS:
        text = row[name]
        if not text:
            continue
        if name == "action_units":
            fields[name] = parse_action_units(text)
            if unparsed := fields[name].unparsed:
                raise ValueError(f"action units {text!r}: not understood: {', '.join(unparsed)}")
        elif name == "objective_class":
            fields[name] = objective_class(text)
            if fields[name] is None and text != "none":
                raise ValueError(f"objective class {text!r}: expected a number, such as 3 or III, or none")
        elif text == "none":
            fields |= {"raw_emotion": None, name: None}
        else:
            fields |= {"raw_emotion": text, name: look_up_emotion(text, EMOTIONS)[0]}
            if fields[name] is None and text not in own:
                raise ValueError(f"emotion {text!r} is none of {', '.join(EMOTIONS)}")
    return fields
