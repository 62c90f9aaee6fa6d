"""SAMM's tree and its spreadsheet ``SAMM_Micro_FACS_Codes_v2.xlsx``."""

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
from pipeline.synthesis.layouts.writer import LayoutWriter, SyntheticClip

_HEADER = (
    "Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame",
    "Duration", "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes",
)  # fmt: skip
_PREAMBLE = 13  # rows above the header
_OBJECTIVE = {"happiness": 1, "surprise": 2, "anger": 3, "disgust": 4, "sadness": 5, "fear": 6}
_QUIRKS = ("apex outside", "missing frame", "duplicate frame", "soft focus", "asymmetric", "reference", "litter")


class SammWriter(LayoutWriter):
    """``006/006_1_2/006_5562.jpg``: grey frames from onset to offset only; ``cropped`` below ``SAMM_CROP``.

    The first clip of every subject has numbers padded to five digits, the others to four.
    """

    subjects = tuple(f"{n:03d}" for n in range(6, 38) if n not in (8, 27, 29))
    emotions: ClassVar[Mapping[str, str]] = {
        "anger": "Anger", "happiness": "Happiness", "others": "Other", "surprise": "Surprise",
        "contempt": "Contempt", "disgust": "Disgust", "fear": "Fear", "sadness": "Sadness",
    }  # fmt: skip
    layouts = ("raw", "cropped")
    fps = 200.0
    size = (960, 650)

    def __init__(self, out: Path, layout: str, *, quirks: bool, seed: int) -> None:
        super().__init__(out, layout, quirks=quirks, seed=seed)
        self._rows: list[list[Cell]] = []
        self._tree = out if layout == "raw" else out / "SAMM_CROP"

    def _write(self, clip: SyntheticClip, quirk: int) -> str:
        oddity = _QUIRKS[quirk] if 0 <= quirk < len(_QUIRKS) else ""
        subject = self.subjects[clip.subject]
        name = f"{subject}_{1 + clip.index % 7}_{1 + clip.index // 7}"
        choose = clip.random(self.seed)
        first = choose.randint(180, 8000)
        onset, apex, offset = (first + position for position in (clip.onset, clip.apex, clip.offset))
        units = "+".join(unit + intensity for unit, intensity in clip.action_units.items())
        if oddity == "soft focus":
            units += "+soft focus "
        elif oddity == "asymmetric":
            units += "+A/L14"
        elif oddity == "reference":
            units += "+ref(7B)"

        folder = self._tree / subject / name
        digits = 5 if clip.index == 0 else 4
        for position in range(clip.onset, clip.offset + 1):
            number = first + position
            if oddity == "missing frame" and number == onset + 1 and number != apex:
                continue
            frame = clip.frames[position]
            if self.layout == "cropped":
                frame = central_crop(frame, 0.5, 0.9)
            write_image(folder / f"{subject}_{number:0{digits}d}.jpg", frame, grey=True)
            if oddity == "duplicate frame" and number == apex:
                write_image(folder / f"{subject}_{number:0{digits + 1}d}.jpg", frame, grey=True)
        if oddity == "litter":
            write_litter(folder)

        row = len(self._rows) + _PREAMBLE + 2
        self._rows.append(
            [
                subject, name, choose.randint(1, 7), onset, offset + 900 if oddity == "apex outside" else apex, offset,
                Formula(f"=F{row}-D{row}+1", offset - onset + 1), "Micro - 1/2", units,
                self.emotions[clip.emotion], _OBJECTIVE.get(clip.emotion, 7), None,
            ]
        )  # fmt: skip
        return f"samm/{subject}/{name}"

    def close(self) -> None:
        """Write the spreadsheet; with quirks also a row without folder, a folder without row, and a closing remark."""
        preamble: list[list[Cell]] = [["SAMM Micro-Movements Dataset"], ["FACS codes, version 2"]]
        preamble += [[None]] * (_PREAMBLE - len(preamble))
        rows = [*preamble, list[Cell](_HEADER), *self._rows]
        if self.quirks:
            last = [*self._rows[-1]]
            last[0:2] = [self.subjects[-1], f"{self.subjects[-1]}_7_9"]
            remark: list[Cell] = [None, None, "Codes agreed by three certified coders"]
            rows += [last, [None], remark]
            stray = f"{self.subjects[0]}_7_8"
            write_stray_folder(
                self._tree / self.subjects[0] / stray, [f"{self.subjects[0]}_{n:04d}.jpg" for n in (7, 8)]
            )
        write_workbook(self.out / "SAMM_Micro_FACS_Codes_v2.xlsx", {"MICRO_ONLY": rows})
