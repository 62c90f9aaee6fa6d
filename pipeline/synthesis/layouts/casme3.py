"""The trees of part A of CAS(ME)^3 and its spreadsheet, ``cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx``."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pipeline.synthesis.layouts.files import Cell, write_depth, write_image, write_litter, write_workbook
from pipeline.synthesis.layouts.writer import LayoutWriter, SyntheticClip

_CLASSES = {
    "happiness": "I", "surprise": "II", "anger": "III", "disgust": "IV", "sadness": "V", "fear": "VI", "others": "VII",
}  # fmt: skip
_OF_A_RECORDING = 3  # expressions
_QUIRKS = ("litter", "other case", "depth frame missing")


class Casme3Writer(LayoutWriter):
    """``frame``: recordings ``frame/spNO.1/a/355.jpg`` of several expressions each, with ``depth/spNO.1/a/355.png``.

    ``clips``: a folder per expression, ``spNo.1_a_355/355.jpg``, without depth, as they are passed on.
    """

    subjects = tuple(f"spNO.{n}" for n in range(1, 95))
    emotions: ClassVar[Mapping[str, str]] = {
        "happiness": "happy", "surprise": "surprise", "anger": "anger", "disgust": "disgust", "sadness": "sad",
        "fear": "fear", "others": "Others",
    }  # fmt: skip
    layouts = ("frame", "clips")
    fps = 30.0
    size = (1280, 720)

    def __init__(self, out: Path, layout: str, *, quirks: bool, seed: int) -> None:
        super().__init__(out, layout, quirks=quirks, seed=seed)
        self._rows: list[list[Cell]] = []
        self._recorded: dict[str, int] = {}  # frames so far, by subject and letter

    def _write(self, clip: SyntheticClip, quirk: int) -> str:
        oddity = _QUIRKS[quirk] if 0 <= quirk < len(_QUIRKS) else ""
        subject, letter = self.subjects[clip.subject], chr(ord("a") + clip.index // _OF_A_RECORDING)
        recording = f"{subject}/{letter}"
        first = 1 + self._recorded.get(recording, 0)
        self._recorded[recording] = first - 1 + len(clip.frames)
        onset, apex, offset = (first + position for position in (clip.onset, clip.apex, clip.offset))
        whole = self.layout == "frame"
        folder = self.out / ("frame" if whole else "") / (recording if whole else f"{subject}_{letter}_{onset}")
        if oddity == "other case" and not whole:
            folder = folder.with_name(folder.name.replace("spNO", "spNo"))
        for position in range(len(clip.frames)) if whole else range(clip.onset, clip.offset + 1):
            write_image(folder / f"{first + position}.jpg", clip.frames[position])
            if whole and clip.depth is not None and (oddity, position) != ("depth frame missing", clip.offset):
                write_depth(self.out / "depth" / recording / f"{first + position}.png", clip.depth[position])
        if oddity == "litter":
            write_litter(folder)
        self._rows.append(
            [subject, letter, str(onset), str(apex), str(offset), ",".join(clip.action_units) or "0",
             _CLASSES[clip.emotion], self.emotions[clip.emotion]]
        )  # fmt: skip
        return f"casme3/{subject}/{letter}_{onset}"

    def close(self) -> None:
        """Write the spreadsheet, all of its cells text; with quirks also a row without frames."""
        header: list[Cell] = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
        rows = [header, *self._rows]
        if self.quirks:
            rows.append(["spNO.99", "z", "10", "12", "14", "4", "VII", "Others"])
        write_workbook(self.out / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", {"label": rows})
