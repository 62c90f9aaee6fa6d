"""Read an old ``.xls`` in a process of its own: ``python xls_reader.py MOST_CELLS < FILE``; pickled sheets on stdout.

The reading library ends its process where a few bytes make it ask for more memory than there is. Nothing of ours is
imported here, so that starting costs little.
"""

import io
import pickle
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from python_calamine import CalamineWorkbook

_MOST_MEMORY = 2 << 30  # bytes


def read(data: bytes, most_cells: int) -> Mapping[str, Sequence[Sequence[object]]]:
    """Sheet name -> rows of cells as the library gives them.

    Raises:
        ValueError: a sheet claims more cells than that.
    """
    sheets = {}
    with CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
        for name in book.sheet_names:
            sheet = book.get_sheet_by_name(name)
            if sheet.total_height * sheet.total_width > most_cells:
                raise ValueError(f"more than {most_cells:,} cells")
            sheets[name] = sheet.to_python(False)
    return sheets


if __name__ == "__main__":
    with suppress(ImportError):  # no such limits on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pickle.dump(read(sys.stdin.buffer.read(), int(sys.argv[1])), sys.stdout.buffer)
