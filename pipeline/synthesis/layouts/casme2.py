"""CASME II's trees and its spreadsheet, in the version of 2019."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pipeline.synthesis.layouts.files import (
    Cell,
    VideoFile,
    central_crop,
    write_image,
    write_litter,
    write_stray_folder,
    write_workbook,
)
from pipeline.synthesis.layouts.writer import LayoutWriter, RgbFrame, SyntheticClip

_OBJECTIVE = {"happiness": 1, "surprise": 2, "disgust": 4, "sadness": 5, "fear": 6}
_TREES = {
    "selected": "CASME2_RAW_selected",
    "whole": "CASME2-RAW/CASME2-RAW",
    "cropped": "Cropped",
    "video": "CASME2_Compressed video/CASME2_compressed",
}
_QUIRKS = ("apex slash", "tail missing", "litter", "units unknown", "apex is onset", "video is the clip")
_ODD_NAMES = ("EP01_2", "EP06_02_01", "EP09f")


class Casme2Writer(LayoutWriter):
    """``sub01/EP02_01f/img46.jpg``; ``reg_img46.jpg`` in ``cropped``; one ``.avi`` a recording in ``video``."""

    subjects = tuple(f"{n:02d}" for n in range(1, 27))
    emotions: ClassVar[Mapping[str, str]] = {
        e: e for e in ("others", "disgust", "happiness", "repression", "surprise", "sadness", "fear")
    }
    layouts = ("selected", "whole", "cropped", "video")
    fps = 200.0
    size = (640, 480)

    def __init__(self, out: Path, layout: str, *, quirks: bool, seed: int) -> None:
        super().__init__(out, layout, quirks=quirks, seed=seed)
        self._rows: list[list[Cell]] = []
        self._tree = out / _TREES[layout]

    def _write(self, clip: SyntheticClip, quirk: int) -> str:
        oddity = _QUIRKS[quirk] if 0 <= quirk < len(_QUIRKS) else ""
        subject, name = self.subjects[clip.subject], self._name(clip)
        first = 1  # recordings are numbered from 1
        onset, apex, offset = (first + position for position in (clip.onset, clip.apex, clip.offset))
        folder = self._tree / f"sub{subject}" / name
        if self.layout == "video":
            frames = clip.frames[clip.onset : clip.offset + 1] if oddity == "video is the clip" else clip.frames
            video = VideoFile(folder.with_name(f"{name}.avi"), self.fps)
            video.append(frames)
            video.close()
        else:
            positions = range(len(clip.frames)) if self.layout == "whole" else range(clip.onset, clip.offset + 1)
            for position in positions:
                number = first + position
                if oddity == "tail missing" and number > max(apex, offset - 2):
                    continue
                self._write_frame(folder, number, clip.frames[position])
        if oddity == "litter":
            write_litter(folder if folder.is_dir() else folder.parent)

        apex_cells: dict[str, Cell] = {"apex slash": "/", "apex is onset": onset}
        units = "?" if oddity == "units unknown" else "+".join(clip.action_units)
        labels: list[Cell] = [_units_cell(units), self.emotions[clip.emotion], _OBJECTIVE.get(clip.emotion, 7)]
        self._rows.append([subject, name, None, onset, apex_cells.get(oddity, apex), offset, None, *labels])
        return f"casme2/sub{subject}/{name}"

    def _name(self, clip: SyntheticClip) -> str:
        if self.quirks and clip.index < len(_ODD_NAMES):
            return _ODD_NAMES[clip.index]
        suffix = "f" if clip.random(self.seed).random() < 0.5 else ""
        return f"EP{2 + clip.index % 18:02d}_{1 + clip.index // 18:02d}{suffix}"

    def _write_frame(self, folder: Path, number: int, frame: RgbFrame) -> None:
        if self.layout == "cropped":
            write_image(folder / f"reg_img{number}.jpg", central_crop(frame, 280 / 640, 340 / 480))
        else:
            write_image(folder / f"img{number}.jpg", frame)

    def close(self) -> None:
        """Write the spreadsheet; with quirks also a folder without row and a row without folder."""
        header: list[Cell] = [
            "Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None,
            "Action Units", "Estimated Emotion", "Objective Classes",
        ]  # fmt: skip
        rows = [header, *self._rows]
        if self.quirks:
            rows.append([self.subjects[-1], "EP99_01", None, 10, 20, 30, None, "4", "others", 7])
            if self.layout != "video":
                prefix = "reg_img" if self.layout == "cropped" else "img"
                write_stray_folder(self._tree / "sub24" / "EP02_07", [f"{prefix}{n}.jpg" for n in (31, 32)])
        write_workbook(self.out / "CASME2-coding-20190701.xlsx", {"Sheet1": rows})


def _units_cell(units: str) -> Cell:
    return int(units) if units.isdecimal() else units  # as in the real sheet, where a lone unit is a number
