"""SMIC's trees: short clips without any spreadsheet, and the long clips of SMIC-E with one."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pipeline.synthesis.layouts.files import (
    Cell,
    Formula,
    central_crop,
    write_image,
    write_litter,
    write_stray_folder,
    write_workbook,
)
from pipeline.synthesis.layouts.writer import LayoutWriter, RgbFrame, SyntheticClip

_TOKENS = {"negative": "ne", "positive": "po", "surprise": "sur"}
_QUIRKS = ("litter", "missing frame", "label conflict", "second expression", "text in a number")


class SmicWriter(LayoutWriter):
    """Layouts are ``<spectrum>-<kind>``: ``hs``, ``vis``, ``nir``; ``raw``, ``cropped``, ``long`` (SMIC-E).

    Short clips hold onset to offset (``s1/micro/negative/s1_ne_01/image559740.bmp``), long clips the whole
    recording (``s01/s1_ne_01/image559700.jpg``). The dataset annotates no apex and no action units.
    """

    subjects = tuple(f"s{n}" for n in (*range(1, 7), 8, 9, *range(11, 16), *range(18, 21)))
    emotions: ClassVar[Mapping[str, str]] = {"negative": "negative", "positive": "positive", "surprise": "surprise"}
    layouts = tuple(f"{spectrum}-{kind}" for spectrum in ("hs", "vis", "nir") for kind in ("raw", "cropped", "long"))
    fps = 100.0
    size = (640, 480)

    def __init__(self, out: Path, layout: str, *, quirks: bool, seed: int) -> None:
        super().__init__(out, layout, quirks=quirks, seed=seed)
        self._rows: list[list[Cell]] = []
        spectrum, self._kind = layout.split("-")
        self._spectrum = spectrum.upper()
        if self._kind == "long":
            self._tree = out / "SMIC-E_raw image" / f"{self._spectrum}_long" / f"SMIC-{self._spectrum}-E"
        else:
            self._tree = out / f"SMIC_all_{self._kind}" / self._spectrum

    def _write(self, clip: SyntheticClip, quirk: int) -> str:
        oddity = _QUIRKS[quirk] if 0 <= quirk < len(_QUIRKS) else ""
        subject = self.subjects[clip.subject]
        name = f"{subject}_{_TOKENS[clip.emotion]}_{clip.index + 1:02d}"
        first = self._first_number(clip)
        folder = self._folder(subject, clip.emotion, name)
        long = self._kind == "long"
        for position in range(len(clip.frames)) if long else range(clip.onset, clip.offset + 1):
            if oddity == "missing frame" and position == clip.onset + 1:
                continue
            self._write_frame(folder, first + position, clip.frames[position])
        if oddity == "litter":
            write_litter(folder)
        if long:
            self._rows.append(self._row(clip, subject, name, first, oddity))
        dataset = f"smic-{self._spectrum.lower()}" + ("-e" if long else "")
        return f"{dataset}/{subject}/{name}"

    def _first_number(self, clip: SyntheticClip) -> int:
        choose = clip.random(self.seed)
        if self._spectrum != "HS":
            return choose.randint(1000, 90000)
        digits = choose.choice((6, 6, 7, 8))  # all of them occur inside one subject
        return choose.randint(10 ** (digits - 1), 9 * 10 ** (digits - 1))

    def _folder(self, subject: str, emotion: str, name: str) -> Path:
        if self._kind == "long":
            return self._tree / f"s{int(subject[1:]):02d}" / name
        return self._tree / subject / "micro" / emotion / name

    def _write_frame(self, folder: Path, number: int, frame: RgbFrame) -> None:
        if self._kind == "cropped":
            frame = central_crop(frame, 0.4, 0.6)
        prefix = "reg_" if self._kind == "cropped" else ""
        stem = f"image{number}" if self._spectrum == "HS" else f"{number:05d}"
        suffix = "jpg" if self._kind == "long" else "bmp"
        write_image(folder / f"{prefix}{stem}.{suffix}", frame)

    def _row(self, clip: SyntheticClip, subject: str, name: str, first: int, oddity: str) -> list[Cell]:
        onset, offset, last = first + clip.onset, first + clip.offset, first + len(clip.frames) - 1
        row = len(self._rows) + 2
        second: tuple[Cell, Cell] = (None, None)
        if oddity == "second expression" and last - offset >= 2:
            second = (offset + 1, last)
        emotion = clip.emotion
        if oddity == "label conflict":
            emotion = "negative" if clip.emotion != "negative" else "positive"
        first_cell: Cell = f"MISSING <-{first}" if oddity == "text in a number" else first
        length = offset - onset
        return [
            int(subject[1:]), name, None, onset, Formula(f"=D{row}+{length}", offset), *second, None, first_cell, last,
            Formula(f"=E{row}-D{row}+1", length + 1), None, Formula(f"=J{row}-I{row}+1", last - first + 1), emotion,
        ]  # fmt: skip

    def close(self) -> None:
        """Write SMIC-E's spreadsheet; with quirks also a folder ``non_micro``, or a row without folder and remarks."""
        if self._kind == "long":
            self._write_annotation()
        elif self.quirks:
            for subject in self.subjects[:1]:
                folder = self._tree / subject / "non_micro" / f"{subject}_non_01"
                write_stray_folder(folder, ["image100001.bmp", "image100002.bmp"])

    def _write_annotation(self) -> None:
        header: list[Cell] = [
            "Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", None, "FirstF", "LastF",
            "TotalMF1", "TotalMF2", "TotalVL", "Emotion",
        ]  # fmt: skip
        rows = [header, *self._rows]
        if self.quirks:
            stray: list[Cell] = [20, "s20_sur_99", None, 5, 9, None, None, None, 1, 12, 5, None, 12, "surprise"]
            rows += [stray, [None], ["clips in total", len(self._rows)]]
        name = "SMIC-HS-E_annotation.xlsx" if self._spectrum == "HS" else f"SMIC_{self._spectrum}_E_annotation.xlsx"
        write_workbook(self.out / name, {self._spectrum: rows})
