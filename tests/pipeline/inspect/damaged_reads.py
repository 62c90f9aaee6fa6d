"""Read a store through every kind of damage, in a process of its own.

Prints a line of JSON for each reading: object, damage, reading, type and message of the error, empty where none.

Usage: python -m tests.pipeline.inspect.damaged_reads STORE OBJECT...
"""

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import xarray
import zarr

from schemas.layout import SPECS
from schemas.store.reader import Store
from tests.pipeline.inspect.store_damage import DAMAGES, damaged


def readings(path: Path, touched: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and function of what one may read of the touched array: of clip arrays the first two clips."""
    store = Store.open(path)
    for name in ("texture", "au", "emotion") if touched == "zarr.json" else (touched,):
        if SPECS[name].per_clip:
            for number, entry in enumerate(store.manifest.clips[:2]):
                yield f"Store.clip{number}", partial(store.clip_array, name, entry.key)  # type: ignore[arg-type]
        else:
            yield "Store.column", partial(store.column, name)
        yield "zarr", lambda name=name: zarr.open_group(path, mode="r")[name][:1]
        yield "xarray", lambda name=name: xarray.open_zarr(path)[name][:1].load()
    if touched in ("au", "zarr.json"):
        yield "Store.clip0", partial(store.action_units, store.manifest.clips[0].key)


def main(path: Path, objects: list[str]) -> None:
    """Print the outcome of each reading under each damage."""
    warnings.simplefilter("ignore")
    for place, name in enumerate(objects):
        for damage in DAMAGES:
            with damaged(path / name, damage, other=path / objects[place - 1]):
                for reading, read in readings(path, touched=name.split("/")[0]):
                    error = message = ""
                    try:
                        read()
                    except Exception as problem:
                        error, message = type(problem).__name__, str(problem)
                    print(json.dumps([name, damage, reading, error, message]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
