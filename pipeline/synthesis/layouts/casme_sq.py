"""CAS(ME)^2's trees and its spreadsheet without header, ``CAS(ME)^2code_final.xlsx``."""

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
from pipeline.synthesis.layouts.writer import LayoutWriter, RgbFrame, SyntheticClip, SyntheticRecording
from schemas.errors import ConfigError

_FOLDERS = (15, 16, *range(19, 28), *range(29, 37), 37, 38, 40)  # of subjects 1 to 22
_VIDEOS = {
    "0101": ("disgust1", "disgustingteeth"), "0102": ("disgust2", "disgustingear"),
    "0401": ("anger1", "girlcrashing"), "0402": ("anger2", "beatingpregnantwoman"),
    "0502": ("happy1", "funnyerrors"), "0503": ("happy2", "unnyfarting"), "0505": ("happy3", "funnyinnovations"),
    "0507": ("happy4", "climbingthewall"), "0508": ("happy5", "funnydunkingchallenge"),
}  # fmt: skip
_SHOWN = {  # what made people show it
    "negative": ("0101", "0401", "0102", "0402"),
    "positive": ("0502", "0503", "0505", "0507", "0508"),
    "surprise": ("0505", "0102"),
    "others": ("0401", "0508"),
}
_SELF_REPORT = {"negative": "disgust", "positive": "happiness", "surprise": "surprise", "others": "confused"}
_QUIRKS = ("offset zero", "apex zero", "apex behind offset", "null units", "commas", "misspelt report", "litter")
_MACRO = ("offset zero", "apex zero", "apex behind offset")


class CasmeSqWriter(LayoutWriter):
    """``selectedpic`` and ``cropped`` have a folder per clip, ``rawpic`` and ``rawvideo`` one per stimulus video.

    Frame numbers are those of the stimulus video; a subject's recordings for the same stimulus follow one another.
    """

    subjects = tuple(f"s{n}" for n in _FOLDERS)
    emotions: ClassVar[Mapping[str, str]] = {e: e for e in ("negative", "positive", "surprise", "others")}
    layouts = ("selectedpic", "rawpic", "cropped", "rawvideo")
    fps = 30.0
    size = (640, 480)

    def __init__(self, out: Path, layout: str, *, quirks: bool, seed: int) -> None:
        super().__init__(out, layout, quirks=quirks, seed=seed)
        self._rows: list[list[Cell]] = []
        self._tree = out / layout
        self._recorded: dict[str, int] = {}  # frames so far, by stimulus video of a subject
        self._videos: dict[str, VideoFile] = {}

    def _write(self, clip: SyntheticClip, quirk: int) -> str:
        oddity = _QUIRKS[quirk] if 0 <= quirk < len(_QUIRKS) else ""
        subject = self.subjects[clip.subject]
        shown = _SHOWN[clip.emotion]
        code = shown[clip.index % len(shown)]
        stem, title = _VIDEOS[code]
        name = f"{stem}_{clip.index + 1}"
        video = f"{subject[1:]}_{code}{title}"
        first = 1 + self._recorded.get(video, 0)
        self._recorded[video] = self._recorded.get(video, 0) + len(clip.frames)

        misplaced = self.quirks and self.layout == "rawpic" and video.startswith("23_0502")  # as in the distribution
        folder = self._tree / ("s19" if misplaced else self._subject_folder(subject))
        if self.layout == "rawvideo":
            if video not in self._videos:
                self._videos[video] = VideoFile(folder / f"{video}.avi", self.fps)
            self._videos[video].append(clip.frames)
        else:
            whole = self.layout == "rawpic"
            images = folder / (video if whole else name)
            for position in range(len(clip.frames)) if whole else range(clip.onset, clip.offset + 1):
                self._write_frame(images, first + position, clip.frames[position])
            if oddity == "litter":
                write_litter(images)
        self._rows.append(self._row(clip, name, first, oddity))
        return f"casme-sq/{subject}/{name}"

    def write_recording(self, recording: SyntheticRecording) -> str:
        """Write one long recording as a video, and a row for each expression in it; gives its key.

        Raises:
            ConfigError: more recordings of a subject than there are stimulus videos.
        """
        if recording.index >= len(_VIDEOS):
            raise ConfigError(f"CAS(ME)^2 has {len(_VIDEOS)} videos of a subject; no more recordings can be written")
        code, (stem, title) = list(_VIDEOS.items())[recording.index]
        subject = self.subjects[recording.subject]
        video = VideoFile(self._tree / subject / f"{subject[1:]}_{code}{title}.avi", self.fps)
        video.append(recording.frames)
        video.close()
        for number, one in enumerate(recording.expressions, 1):
            self._rows.append(
                [recording.subject + 1, f"{stem}_{number}", one.onset + 1, one.apex + 1, one.offset + 1,
                 "+".join(one.action_units) or "NULL", one.emotion, f"{one.kind}-expression",
                 _SELF_REPORT[one.emotion]]
            )  # fmt: skip
        return f"casme-sq/{subject}/{code}"

    def _subject_folder(self, subject: str) -> str:
        return subject[1:] if self.layout == "cropped" else subject

    def _write_frame(self, folder: Path, number: int, frame: RgbFrame) -> None:
        if self.layout == "cropped":
            frame = central_crop(frame, 0.4, 0.6)
        write_image(folder / f"img{number:03d}.jpg", frame)

    def _row(self, clip: SyntheticClip, name: str, first: int, oddity: str) -> list[Cell]:
        onset, apex, offset = (first + position for position in (clip.onset, clip.apex, clip.offset))
        units = "NULL" if oddity == "null units" else (",".join if oddity == "commas" else "+".join)(clip.action_units)
        report = "happyiness" if oddity == "misspelt report" else _SELF_REPORT[clip.emotion]
        return [
            clip.subject + 1, name, onset,
            {"apex zero": 0, "apex behind offset": offset + 1}.get(oddity, apex),
            0 if oddity == "offset zero" else offset,
            int(units) if units.isdecimal() else units,
            self.emotions[clip.emotion],
            "macro-expression" if clip.macro or oddity in _MACRO else "micro-expression",
            report,
        ]  # fmt: skip

    def close(self) -> None:
        """Write the spreadsheet; with quirks also a row without folder and a folder without row."""
        for video in self._videos.values():
            video.close()
        rows = [*self._rows]
        if self.quirks:
            rows.append([22, "happy5_99", 10, 12, 14, "12", "positive", "micro-expression", "happiness"])
            unlabelled = "38_0507climbingthewall" if self.layout == "rawpic" else "anger2_98"
            if self.layout != "rawvideo" and unlabelled not in self._recorded:
                stray = self._tree / self._subject_folder("s38") / unlabelled
                write_stray_folder(stray, [f"img{n:03d}.jpg" for n in (1, 2)])
        # The second sheet of the distribution has a row for each of the first: number and name of the folder, subject.
        folders: list[list[Cell]] = []
        for subject in (int(str(row[0])) for row in rows):
            number = _FOLDERS[subject - 1]
            folders.append([number, f"s{number}", subject])
        videos: list[list[Cell]] = [[code, stem] for code, (stem, _) in _VIDEOS.items()]
        sheets = {"CASFEcode_final": rows, "naming rule1": folders, "naming rule2": videos}
        write_workbook(self.out / "CAS(ME)^2code_final.xlsx", sheets)
