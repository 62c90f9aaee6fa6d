"""The clips of a task as a PyTorch dataset, and batches of them."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from training.data.batch import ClipBatch
from training.data.clips import ClipSource, StoredClip
from training.data.sampling import draw_seed, frame_indices


class ClipDraw(NamedTuple):
    """Which clip, and what its frames are drawn with; ``None`` takes the middle frames, always the same."""

    clip: int
    seed: int | None = None


class StoreDataset(Dataset[ClipBatch]):
    """T frames of a clip, as the store holds them: ``dataset[ClipDraw(clip, seed)]`` is a batch of one.

    What comes out depends on the draw alone, not on the order of reading or on who reads.

    Args:
        source: of whole clips.
        labels: class index of each.
        frames: T.
    """

    def __init__(self, source: ClipSource, labels: Sequence[int], *, frames: int) -> None:
        self.source, self.labels, self.frames = source, tuple(labels), frames

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: ClipDraw) -> ClipBatch:
        """Raw pixels: texture ``(1, T, 3, S, S) uint8``, depth ``(1, T, 1, S, S) float16``."""
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[ClipDraw]) -> list[ClipBatch]:
        """Several, as ``DataLoader`` asks for a batch; from a URL the next clips are fetched while one is read."""
        clips = self.source.sampled((draw.clip, partial(self._frames, draw)) for draw in draws)
        return [self._batch(draw, clip) for draw, clip in zip(draws, clips, strict=True)]

    def _frames(self, draw: ClipDraw, count: int, onset: int, apex: int) -> NDArray[np.int64]:
        random = None if draw.seed is None else np.random.default_rng(draw.seed)
        return frame_indices(count, onset=onset, apex=apex, frames=self.frames, random=random)

    def _batch(self, draw: ClipDraw, clip: StoredClip) -> ClipBatch:
        return ClipBatch(
            texture=clip.texture[None],
            depth=clip.depth[None],
            au=clip.au[None],
            label=torch.tensor([self.labels[draw.clip]], device=clip.au.device),
            apex=torch.tensor([clip.apex], device=clip.au.device),
            flow=None if clip.flow is None else clip.flow[None],
            coded=None if clip.coded is None else clip.coded[None],
        )


class BatchReader:
    """Reads batches of a dataset onto a device; a context manager, since its processes stay for many epochs.

    Args:
        dataset: to read.
        device: where the batches are wanted.
        loaders: spawned processes that read ahead, for a source that is not in memory; 0 reads in this one.
    """

    def __init__(self, dataset: StoreDataset, *, device: torch.device, loaders: int = 0) -> None:
        self._dataset, self._device = dataset, device
        self._draws: list[list[ClipDraw]] = []
        self._pinned = device.type == "cuda"
        self._loader: DataLoader[ClipBatch] | None = None
        if loaders:
            self._loader = DataLoader(
                dataset,
                batch_sampler=self._draws,  # refilled every epoch
                num_workers=loaders,
                collate_fn=join,
                pin_memory=self._pinned,
                # Spawned, never forked: threads of Zarr and of Dask would deadlock in a forked child.
                multiprocessing_context=get_context("spawn"),
                persistent_workers=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._loader = None  # its processes end with it

    def read(
        self, parts: Iterable[Sequence[int] | NDArray[np.int64]], *, jitter: int | None = None
    ) -> Iterator[ClipBatch]:
        """Raw batches of the clips at the positions of each part; ``jitter`` seeds the draw of the frames."""
        self._draws[:] = [
            [ClipDraw(int(index), None if jitter is None else draw_seed(jitter, place, int(index))) for index in part]
            for place, part in enumerate(parts)
        ]
        if self._loader is not None:
            batches: Iterable[ClipBatch] = self._loader
        else:
            batches = (join(self._dataset.__getitems__(part)) for part in self._draws)
        for batch in batches:
            yield batch.to(self._device, non_blocking=self._pinned)


def join(clips: Sequence[ClipBatch]) -> ClipBatch:
    """Several batches of equal frames as one."""
    return ClipBatch(**{name: torch.cat([getattr(clip, name) for clip in clips]) for name in clips[0].tensors()})
