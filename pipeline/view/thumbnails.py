"""Small pictures of a clip's onset and apex, read when they are asked for and kept for a while."""

import base64
import io
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.store.reader import Store

SIDE = 112  # px
_KEPT = 1000  # clips, some 10 MB


class Thumbnails:
    """Thumbnails of the clips of a store.

    Args:
        store: to read from; of a clip, only the chunks of two frames are decoded.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.of = lru_cache(_KEPT)(self._read)

    def _read(self, key: str) -> tuple[str, str]:
        """Onset and apex as ``data:`` URLs.

        Raises:
            StoreError: the clip failed, is damaged, or the store has no texture.
        """
        first, second = self._frames(key, *self._store.phases(key))
        return _data_url(first), _data_url(second)

    def _frames(self, key: str, *positions: int) -> Iterator[NDArray[np.uint8]]:
        for position in positions:
            yield self._store.clip_array("texture", key, slice(position, position + 1))[0]


def _data_url(frame: NDArray[np.uint8]) -> str:
    image = Image.fromarray(frame)
    image.thumbnail((SIDE, SIDE))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()
