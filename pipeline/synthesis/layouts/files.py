"""Files as the datasets have them, byte for byte the same from run to run: images, videos, workbooks, litter."""

import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from openpyxl import Workbook
from PIL import Image

from pipeline.synthesis.layouts.writer import RgbFrame

_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Formula:
    """A cell that holds a formula, and the value that a spreadsheet program would have cached."""

    text: str
    value: int


Cell = str | int | Formula | None
Rows = Sequence[Sequence[Cell]]


def write_image(path: Path, frame: RgbFrame, *, grey: bool = False) -> None:
    """``(H, W, 3) uint8`` RGB to the format of the path's suffix (jpg, bmp, png)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(frame)
    if grey:
        image = image.convert("L")
    if path.suffix == ".jpg":
        image.save(path, quality=_JPEG_QUALITY)
    else:
        image.save(path)


def write_depth(path: Path, depth: NDArray[np.uint16]) -> None:
    """``(H, W) uint16`` mm, 0 where nothing was measured, to a PNG of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(depth).save(path)


def central_crop(frame: RgbFrame, width: float, height: float) -> RgbFrame:
    """The central part of a frame, ``width`` and ``height`` as fractions of its sides."""
    h, w = frame.shape[:2]
    cut_h, cut_w = max(1, round(h * height)), max(1, round(w * width))
    top, left = (h - cut_h) // 2, (w - cut_w) // 2
    return frame[top : top + cut_h, left : left + cut_w]


class VideoFile:
    """A motion-JPEG ``.avi`` that grows frame by frame."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None

    def append(self, frames: Iterable[RgbFrame]) -> None:
        """Add frames ``(H, W, 3) uint8`` RGB, all of one size."""
        for frame in frames:
            if self._writer is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                size = (frame.shape[1], frame.shape[0])
                code = cv2.VideoWriter.fourcc(*"MJPG")
                self._writer = cv2.VideoWriter(str(self._path), code, self._fps, size)
                if not self._writer.isOpened():
                    raise OSError(f"{self._path}: OpenCV cannot write a motion-JPEG video here")
            self._writer.write(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


def write_workbook(path: Path, sheets: Mapping[str, Rows]) -> None:
    """Write an ``.xlsx`` whose bytes depend on the cells alone."""
    book = Workbook()
    del book["Sheet"]
    cached: dict[str, list[int]] = {}
    for number, (title, rows) in enumerate(sheets.items(), 1):
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append([cell.text if isinstance(cell, Formula) else cell for cell in row])
        values = [cell.value for row in rows for cell in row if isinstance(cell, Formula)]
        cached[f"xl/worksheets/sheet{number}.xml"] = values
    saved = io.BytesIO()
    book.save(saved)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = _with_cached_values(source.read(name), cached.get(name, []))
            if name == "docProps/core.xml":
                data = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2014-05-08T00:00:00Z", data)
            entry = zipfile.ZipInfo(name, date_time=(2014, 5, 8, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, data)


def _with_cached_values(xml: bytes, values: Sequence[int]) -> bytes:
    # openpyxl writes formulas without the values that spreadsheet programs store beside them.
    left = iter(values)
    return re.sub(rb"</f><v\s*/>|</f><v></v>", lambda _: b"</f><v>%d</v>" % next(left), xml)


def write_litter(folder: Path) -> None:
    """Files that file managers leave in image folders."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Thumbs.db", ".DS_Store", "._img7.jpg", "Shortcut 12.lnk"):
        (folder / name).write_bytes(b"\0litter\0")


def write_stray_folder(folder: Path, names: Iterable[str]) -> None:
    """A folder of grey images that no annotation knows."""
    for name in names:
        write_image(folder / name, np.full((12, 16, 3), 128, np.uint8))
