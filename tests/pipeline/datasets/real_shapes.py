"""Datasets in the shape of the real files, from the published facts alone, with invented values.

Nothing here knows an adapter, ``mer synth`` or the table of facts: sheet names, preambles, columns and their order,
cell types, folder names and the published counts are written down a second time, on purpose. Frames are empty files.
"""

import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openpyxl import Workbook

Cell = str | int | None


@dataclass
class Real:
    """A dataset on disk, and a plain reading of its sheet: key -> (onset, apex, offset, emotion, type)."""

    root: Path
    rows: dict[str, tuple[int, int | None, int, str, str]] = field(default_factory=dict)

    @property
    def emotions(self) -> Counter[str]:
        """Clips of each."""
        return Counter(emotion for *_, emotion, _ in self.rows.values())


def frames(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.close(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY))  # tens of thousands: a third of the time


def workbook(path: Path, sheets: dict[str, Sequence[Sequence[Cell]]]) -> Path:
    book = Workbook()
    book.remove(book.worksheets[0])
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


def shared(counts: dict[str, int], people: Sequence[str], seed: int) -> list[tuple[str, str]]:
    """``(person, emotion)`` for each clip: everybody at least once, the rest at random."""
    rng = random.Random(seed)
    emotions = [emotion for emotion, count in counts.items() for _ in range(count)]
    rng.shuffle(emotions)
    whose = [*people, *rng.choices(people, k=len(emotions) - len(people))]
    return sorted(zip(whose, emotions, strict=True))


SAMM_EMOTIONS = {
    "Anger": 57, "Happiness": 26, "Other": 26, "Surprise": 15, "Contempt": 12, "Disgust": 9, "Fear": 8, "Sadness": 6,
}  # fmt: skip
SAMM_PEOPLE = [f"{n:03d}" for n in range(6, 38) if n not in (8, 27, 29)]
CASME2_COLUMNS = (
    "Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units", "Estimated Emotion",
)  # fmt: skip
CASME2_EMOTIONS = {
    "others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2,
}  # fmt: skip
SMIC_PEOPLE = [f"s{n}" for n in (*range(1, 7), 8, 9, *range(11, 16), *range(18, 21))]


def samm(root: Path, *, tree: str = "{subject}/{clip}", preamble: bool = True) -> Real:
    """159 clips; the sheet ``MICRO_ONLY`` with its header in row 14, or in row 1 as in the file of 2018."""
    real, rng, numbers = Real(root), random.Random(1), Counter[str]()
    header = (
        "Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro",
        "Action Units", "Estimated Emotion", "Objective Classes", "Notes",
    )  # fmt: skip
    rows: list[Sequence[Cell]] = [[f"SAMM note {n}"] if n % 3 else [None] for n in range(13)] if preamble else []
    rows.append(header)
    for subject, emotion in shared(SAMM_EMOTIONS, SAMM_PEOPLE, 2):
        numbers[subject] += 1
        clip = f"{subject}_{1 + numbers[subject] % 7}_{1 + numbers[subject] // 7}"
        onset = rng.randint(20, 9000)
        apex, offset = onset + 3, onset + rng.randint(4, 8)
        rows.append(
            [subject, clip, rng.randint(1, 7), onset, apex, offset, offset - onset + 1, "Micro - 1/2", "4B+R12",
             emotion, rng.randint(1, 7), None]
        )  # fmt: skip
        digits = rng.choice((4, 5))
        folder = root / tree.format(subject=subject, clip=clip, emotion=emotion)
        frames(folder, (f"{subject}_{number:0{digits}d}.jpg" for number in range(onset, offset + 1)))
        plain = "others" if emotion == "Other" else emotion.lower()
        real.rows[f"samm/{subject}/{clip}"] = (onset, apex, offset, plain, "micro")
    name = "SAMM_Micro_FACS_Codes_v2.xlsx" if preamble else "SAMM_20181215_Micro_FACS_Codes_v2.xlsx"
    workbook(root / name, {"MICRO_ONLY": rows})
    return real


def casme2(
    root: Path,
    *,
    tree: str = "CASME2_RAW_selected/sub{subject}/{clip}",
    image: str = "img{n}.jpg",
    kind: str = "clip",
    objective: str = "",
) -> Real:
    """255 clips, subjects as text, blank columns between.

    ``kind`` is clip, whole, renumbered or interpolated; objective classes are in a file ``apart``, or in the coding of
    ``2019``, in which three clips have become surprise.
    """
    real, rng, numbers = Real(root), random.Random(3), Counter[str]()
    emotions = CASME2_EMOTIONS | ({"surprise": 28, "sadness": 4} if objective == "2019" else {})
    rows: list[Sequence[Cell]] = [[*CASME2_COLUMNS, *(["Objective Classes"] if objective == "2019" else [])]]
    classes: list[Sequence[Cell]] = [["Subject", "Filename", "Objective Class"]]
    for subject, emotion in shared(emotions, [f"{n:02d}" for n in range(1, 27)], 4):
        numbers[subject] += 1
        clip = f"EP{numbers[subject]:02d}_{rng.randint(1, 9):02d}{rng.choice(('', 'f'))}"
        onset = rng.randint(11, 20)
        apex, offset = onset + rng.randint(4, 9), onset + rng.randint(11, 16)
        units = rng.choice(("4+L10", "R6+R12", 4, "?"))
        number = 1 + numbers[subject] % 7
        rows.append([subject, clip, None, onset, apex, offset, None, units, emotion])
        rows[-1] = [*rows[-1], *([number] if objective == "2019" else [])]
        classes.append([int(subject), clip, number])
        span = {
            "clip": range(onset, offset + 1), "whole": range(1, offset + 4),
            "renumbered": range(1, offset - onset + 2), "interpolated": range(1, 11),
        }[kind]  # fmt: skip
        folder = root / tree.format(subject=subject, clip=clip, emotion=emotion)
        frames(folder, (image.format(n=number) for number in span))
        real.rows[f"casme2/sub{subject}/{clip}"] = (onset, apex, offset, emotion, "micro")
    name = "CASME2-coding-20190701.xlsx" if objective == "2019" else "CASME2-coding-20140508.xlsx"
    workbook(root / name, {"Sheet1": rows})
    if objective == "apart":
        workbook(root / "CASME2-ObjectiveClasses.xlsx", {"Sheet1": classes})
    return real


CASME_SQ_FOLDERS = [15, 16, *range(19, 28), *range(29, 37), 37, 38, 40]  # of subjects 1 to 22
CASME_SQ_CODES = [
    ("0101", "disgust1"), ("0102", "disgust2"), ("0401", "anger1"), ("0402", "anger2"), ("0502", "happy1"),
    ("0503", "happy2"), ("0505", "happy3"), ("0507", "happy4"), ("0508", "happy5"),
]  # fmt: skip


def casme_sq(root: Path, *, layout: str) -> Real:
    """357 expressions in three sheets without headers; the second has a row for each row of the first."""
    real, rng, ends = Real(root), random.Random(5), Counter[tuple[int, str]]()
    micro = shared({"negative": 21, "others": 19, "surprise": 9, "positive": 8}, [str(n) for n in range(1, 15)], 6)
    macro = shared({"positive": 116, "negative": 105, "others": 63, "surprise": 16}, [str(n) for n in range(1, 23)], 7)
    typed = sorted(
        [(int(s), e, "micro-expression") for s, e in micro] + [(int(s), e, "macro-expression") for s, e in macro]
    )
    clips: list[Sequence[Cell]] = []
    rule: list[Sequence[Cell]] = []
    numbers: Counter[tuple[int, str]] = Counter()
    for subject, emotion, kind in typed:
        code, stem = rng.choice(CASME_SQ_CODES)
        folder = CASME_SQ_FOLDERS[subject - 1]
        numbers[subject, stem] += 1
        clip = f"{stem}_{numbers[subject, stem]}"
        onset = ends[subject, code] + rng.randint(2, 30)
        offset = ends[subject, code] = onset + rng.randint(5, 12)
        apex = onset + 2
        units = rng.choice(("4,24", "NULL", 12, "L1+L2"))
        clips.append([subject, clip, onset, apex, offset, units, emotion, kind, "happiness"])
        rule.append([folder, f"s{folder}", subject])
        place = {
            "selectedpic": f"selectedpic/s{folder}/{clip}", "cropped": f"cropped/{folder}/{clip}",
            "cropped by subject": f"cropped/{subject}/{clip}", "flat": f"s{folder}_{clip}",
        }.get(layout)  # fmt: skip
        if place:
            frames(root / place, (f"img{number:03d}.jpg" for number in range(onset, offset + 1)))
        real.rows[f"casme-sq/s{folder}/{clip}"] = (onset, apex, offset, emotion, kind.removesuffix("-expression"))
    if layout == "rawpic":
        for (subject, code), end in ends.items():
            folder = CASME_SQ_FOLDERS[subject - 1]
            video = root / "rawpic" / f"s{folder}" / f"{folder}_{code}disgustingteeth"
            frames(video, (f"img{number:03d}.jpg" for number in range(1, end + 5)))
    sheets = {"CASFEcode_final": clips, "naming rule1": rule, "naming rule2": [[c, s] for c, s in CASME_SQ_CODES]}
    workbook(root / "CAS(ME)^2code_final.xlsx", sheets)
    return real


TOKENS = {"negative": "ne", "positive": "po", "surprise": "sur"}


def smic(root: Path, *, tree: str = "HS/{subject}/micro/{emotion}/{clip}", camera: str = "HS") -> Real:
    """HS: 164 clips numbered with 6 to 8 digits as written, 21 of them with a leading zero; VIS, NIR: 71 with five."""
    rng, numbers = random.Random(8), Counter[str]()
    hs = camera == "HS"
    counts = (
        {"negative": 70, "positive": 51, "surprise": 43} if hs else {"negative": 24, "positive": 28, "surprise": 19}
    )
    real = Real(root)
    people = SMIC_PEOPLE if hs else SMIC_PEOPLE[8:]
    for index, (subject, emotion) in enumerate(shared(counts, people, 9)):
        numbers[subject] += 1
        clip = f"{subject}_{TOKENS[emotion]}_{numbers[subject]:02d}"
        padded = f"s{int(subject[1:]):02d}{clip[len(subject) :]}"
        first = rng.randint(10_000, 99_000) if not hs or index < 21 else rng.randint(100_000, 30_000_000)
        last = first + rng.randint(9, 14)
        stem = "image{:06d}" if hs else "{:05d}"
        folder = root / tree.format(
            subject=subject, clip=clip, emotion=emotion, padded_subject=padded.split("_")[0], padded_clip=padded
        )
        frames(folder, (f"{stem.format(number)}.bmp" for number in range(first, last + 1)))
        name = folder.name
        real.rows[f"smic-{camera.lower()}/{subject}/{name}"] = (first, None, last, emotion, "micro")
    return real


def smic_e(root: Path, *, rows: int, expressions: int, camera: str = "HS") -> Real:
    """A workbook with a sheet a camera, ``VIS`` first, of which only that of the images must be read.

    VIS has the same columns but ``LastF``, frames numbered with five digits, and half as many people.
    """
    rng, hs = random.Random(10), camera == "HS"
    real = Real(root)
    header = [
        "Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", "Onset3F", "Offset3F", None,
        "FirstF", "LastF", "TotalMF1", "TotalMF2", "TotalMF3", "TotalVL", "Emotion",
    ]  # fmt: skip
    sheets: dict[str, list[Sequence[Cell]]] = {
        "VIS": [[cell for cell in header if cell != "LastF"]],
        "HS": [header],
    }
    numbers: Counter[str] = Counter()
    counts = {"negative": 66, "positive": 51, "surprise": rows - 117} if hs else {"negative": 24, "positive": 28}
    people = shared(counts | ({} if hs else {"surprise": rows - 52}), SMIC_PEOPLE if hs else SMIC_PEOPLE[8:], 11)
    for index, (subject, emotion) in enumerate(people):
        numbers[subject] += 1
        clip = f"{subject}_{TOKENS[emotion]}_{numbers[subject]:02d}"
        first = rng.randint(100_000, 900_000) if hs else rng.randint(10_000, 90_000)
        onset, offset, last = first + 5, first + 9, first + 30
        second = (first + 12, first + 15) if index < expressions - rows else (None, None)
        begin: Cell = f"MISSING <-{first}" if index == 7 else first
        spans = [onset, offset, *second, None, None, None]
        other = [5, 9, None, None, None, None, None]
        row = [int(subject[1:]), clip, None]
        sheets["HS"].append([*row, *(spans if hs else other), begin if hs else 1, last, 5, None, None, 31, emotion])
        sheets["VIS"].append([*row, *(other if hs else spans), 1 if hs else begin, 5, None, None, 31, emotion])
        folder = root / "SMIC-E_raw image" / f"{camera}_long" / f"SMIC-{camera}-E" / f"s{int(subject[1:]):02d}" / clip
        stem = "image{}" if hs else "{:05d}"
        frames(folder, (f"{stem.format(number)}.jpg" for number in range(first, last + 1)))
        dataset = f"smic-{camera.lower()}-e"
        real.rows[f"{dataset}/{subject}/{clip}"] = (onset, None, offset, emotion, "micro")
        if second[0] is not None and second[1] is not None:
            real.rows[f"{dataset}/{subject}/{clip}_2"] = (second[0], None, second[1], emotion, "micro")
    sheets["HS"].append([None, "clips in total", None, None])
    workbook(root / "SMIC-HS-E_annotation.xlsx", sheets)
    return real


def casme3(root: Path, *, tree: str = "{kind}/{subject}/{letter}", colour: str = "frame", flat: bool = False) -> Real:
    """CAS(ME)^3 part A: 860 rows of 94 people, all cells text; one recording holds several, depth lies beside it."""
    real, rng = Real(root), random.Random(12)
    rows: list[Sequence[Cell]] = [
        ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
    ]
    ends: Counter[tuple[int, str]] = Counter()
    for index in range(860):
        person, letter = 1 + index % 94, rng.choice("abc")
        onset = ends[person, letter] + rng.randint(2, 9)
        offset = ends[person, letter] = onset + rng.randint(4, 6)
        emotion = rng.choice(("happy", "anger", "disgust", "fear", "sad", "surprise", "Others"))
        roman = rng.choice(("I", "II", "VII"))
        cells = (f"spNO.{person}", letter, str(onset), str(onset + 2), str(offset), "4,7", roman, emotion)
        rows.append(cells)
        plain = {"happy": "happiness", "sad": "sadness", "Others": "others"}.get(emotion, emotion)
        real.rows[f"casme3/spNO.{person}/{letter}_{onset}"] = (onset, onset + 2, offset, plain, "micro")
        if flat:
            frames(root / f"spNo.{person}_{letter}_{onset}", (f"{n}.jpg" for n in range(onset, offset + 1)))
    for (person, letter), end in ends.items() if not flat else ():
        for kind, suffix in ((colour, "jpg"), ("depth", "png")):
            folder = root / tree.format(kind=kind, subject=f"spNO.{person}", letter=letter)
            frames(folder, (f"{n}.{suffix}" for n in range(1, end + 3)))
    workbook(root / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", {"label": rows})
    return real


def mmew(root: Path, *, tree: str) -> Real:
    """300 clips of 36 people, by emotion; frames start at 1."""
    counts = {"happiness": 36, "anger": 8, "surprise": 89, "disgust": 72, "fear": 16, "sadness": 13, "others": 66}
    real, rng, numbers = Real(root), random.Random(13), Counter[str]()
    header = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion")
    rows: list[Sequence[Cell]] = [(*header, "Remarks")]
    for subject, emotion in shared(counts, [f"S{n:02d}" for n in range(1, 37)], 14):
        numbers[subject] += 1
        clip = f"{subject}-{rng.randint(1, 9):02d}-{numbers[subject]:03d}"
        offset = rng.randint(9, 14)
        rows.append([subject, clip, 1, 5, offset, "4+7", emotion, None])
        frames(
            root / tree.format(subject=subject, clip=clip, emotion=emotion), (f"{n}.jpg" for n in range(1, offset + 1))
        )
        real.rows[f"mmew/{subject}/{clip}"] = (1, 5, offset, emotion, "micro")
    workbook(root / "MMEW_Micro_Exp.xlsx", {"Sheet1": rows})
    return real


def samm_long(root: Path) -> Real:
    """502 movements in 147 recordings; a preamble of 9 rows, no emotions, some without an apex (-1)."""
    real, rng = Real(root), random.Random(15)
    header = ("Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration")
    rows: list[Sequence[Cell]] = [[f"note {n}"] for n in range(9)]
    rows.append([*header, "Type (Micro - 1/2, Macro)", "Action Units", "Notes"])
    recordings = [f"{person}_{n}" for person in SAMM_PEOPLE for n in range(1, 7)][:147]
    kinds = ["Macro"] * 343 + ["Micro - 1/2"] * 159
    rng.shuffle(kinds)
    ends, numbers = Counter[str](), Counter[str]()
    for index, kind in enumerate(kinds):
        recording = recordings[index % 147]
        numbers[recording] += 1
        onset = ends[recording] + rng.randint(3, 9)
        offset = ends[recording] = onset + rng.randint(5, 9)
        name = f"{recording}_{numbers[recording]}"
        apex = -1 if index % 50 == 0 else onset + 2
        rows.append([recording[:3], name, 1, onset, apex, offset, offset - onset + 1, kind, "4", None])
        value = None if apex < 0 else apex
        real.rows[f"samm-long/{recording[:3]}/{name}"] = (onset, value, offset, "", kind.split(" ")[0].lower())
    for recording in recordings:
        images = (f"{recording}_{n:04d}.jpg" for n in range(1, ends[recording] + 4))
        frames(root / "SAMM_longvideos" / recording, images)
    workbook(root / "SAMM_LongVideos_V2_Release.xlsx", {"FACS_Movement_Only": rows})
    return real


def dfme(root: Path) -> Real:
    """1,856 rows of the training part, each with its frame rate; action units are numbers or text."""
    real, rng, numbers = Real(root), random.Random(16), Counter[int]()
    columns = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU")
    rows: list[Sequence[Cell]] = [columns]
    emotions = ("happiness", "disgust", "contempt", "surprise", "fear", "anger", "sadness")
    for index in range(1856):
        person = 3 + index % 400
        numbers[person] += 1
        clip = f"sub{person:04d}_{numbers[person]:02d}"
        emotion, onset = rng.choice(emotions), rng.randint(5, 90)
        fps, units = rng.choice((200, 300, 500)), rng.choice((12, "4+7", "AD38", "M58"))
        rows.append(
            [f"sub{person:04d}", clip, onset, onset + 1, onset + 2, emotion, emotions.index(emotion), fps, units]
        )
        frames(root / f"sub{person:04d}" / clip, (f"{n:05d}.jpg" for n in range(onset, onset + 3)))
        real.rows[f"dfme/sub{person:04d}/{clip}"] = (onset, onset + 1, onset + 2, emotion, "micro")
    workbook(root / "training_full_with_AU.xlsx", {"Sheet1": rows})
    return real


FOUR_DME_SESSIONS = ("S05", "S13_1st", "S13_2nd", "S49_2", "S58_1", "S58_2", "S64")


def four_dme(root: Path, *, tree: str = "gray_micro/{subject}/{clip}") -> Real:
    """267 rows of the release; people with two sessions, units that are held, two emotions at once."""
    real, rng, numbers = Real(root), random.Random(17), Counter[str]()
    rows: list[Sequence[Cell]] = [["sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs", "AU1", "AU4"]]
    words = ("Positive", "Negative", "Surprise", "Repression", "Others")
    for index in range(267):
        session = FOUR_DME_SESSIONS[index % len(FOUR_DME_SESSIONS)]
        numbers[session] += 1
        clip = f"{1 + numbers[session] // 9:03d}_{1 + numbers[session] % 9:02d}_1"
        emotion = "Surprise+Positive" if index == 263 else rng.choice(words)
        onset = rng.randint(1, 3000)
        offset = onset + rng.randint(6, 20)
        units = rng.choice(("AU4(k)+L7", "AUR2+12(k)+45", "4+7", 12))
        rows.append([session, clip, emotion, onset, onset + 3, offset, units, 0, 1])
        names = (f"Frame_{number:09d}.jpg" for number in range(onset, offset + 1))
        frames(root / tree.format(subject=session, clip=clip), names)
        person, _, which = session.partition("_")
        key = f"4dme/{person}/{which}_{clip}" if which else f"4dme/{person}/{clip}"
        known = None if "+" in emotion else emotion.lower()
        real.rows[key] = (onset, onset + 3, offset, known, "micro")  # type: ignore[assignment]
    workbook(root / "4DME_Labelling_Micro_release v1.xlsx", {"Sheet1": rows})
    return real
