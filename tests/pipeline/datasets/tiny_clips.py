"""Synthetic recordings of 16x12 px whose grey value is the position in the recording."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openpyxl import Workbook

from pipeline.synthesis.layouts import SYNTHETIC, SyntheticClip, write_dataset
from schemas.clip import Clip, DatasetScan

LENGTH, ONSET, APEX, OFFSET = 10, 2, 5, 7
UNITS = {"4": "B", "L12": ""}
ALL_LAYOUTS = [(dataset, layout) for dataset, writer in SYNTHETIC.items() for layout in writer.layouts]


def frame(position: int) -> NDArray[np.uint8]:
    return np.full((12, 16, 3), 20 + 20 * position, np.uint8)


def tiny_clips(dataset: str, *, subjects: int = 2, clips: int = 4) -> Iterator[SyntheticClip]:
    emotions = list(SYNTHETIC[dataset].emotions)
    for subject in range(subjects):
        for index in range(clips):
            emotion = emotions[(subject + index) % len(emotions)]
            frames = [frame(position) for position in range(LENGTH)]
            yield SyntheticClip(subject, index, emotion, UNITS, frames, ONSET, APEX, OFFSET)


def write_tiny(dataset: str, out: Path, layout: str | None = None, *, quirks: bool = False) -> list[str]:
    return write_dataset(dataset, out, tiny_clips(dataset), layout=layout, quirks=quirks, seed=1)


def clip_of(scan: DatasetScan, key: str) -> Clip:
    return next(clip for clip in scan.clips if clip.key == key)


def kinds_of(clip: Clip) -> set[str]:
    return {finding.kind for finding in clip.findings}


def dataset_kinds(scan: DatasetScan) -> set[str]:
    return {finding.kind for finding in scan.findings}


def save_sheets(path: Path, *sheets: list[list[object]]) -> Path:
    book = Workbook()
    book.remove(book.worksheets[0])
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path
