"""The smallest ``.ods`` that holds a sheet; nothing installed writes one."""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

CELL = '<table:table-cell office:value-type="string" office:string-value="{0}"><text:p>{0}</text:p></table:table-cell>'


def open_document(path: Path, rows: str) -> Path:
    """An ``.ods`` with one sheet.

    Args:
        path: where to write it.
        rows: as XML, ``<table:table-row>`` and what stands in it.
    """
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "content.xml",
            '<?xml version="1.0"?><office:document-content '
            'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
            'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
            'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
            f'<table:table table:name="S">{rows}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    return path


def text_rows(rows: Iterable[Sequence[str]]) -> str:
    """Rows of texts as XML."""
    return "".join(f"<table:table-row>{''.join(map(CELL.format, row))}</table:table-row>" for row in rows)
