"""Draws of clips as batches: the same whoever reads, in whatever order."""

from collections.abc import Iterator, Sequence

import pytest
import torch

from schemas.store.reader import Store
from tests.training.small_stores import small_store
from training.data.batch import ClipBatch
from training.data.clips import ClipReader, Clips, ClipSource, StoredClip
from training.data.dataset import BatchReader, ClipDraw, StoreDataset, join

CPU = torch.device("cpu")


class Numbered(ClipSource):
    """A source whose clips say in every pixel which clip and frame they are."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> StoredClip:
        frames = torch.arange(20 + index).view(-1, 1, 1, 1)
        return StoredClip(
            texture=(frames + 0).expand(-1, 3, 4, 4).to(torch.uint8),
            depth=(frames + 100 * index).expand(-1, 1, 4, 4).half(),
            au=torch.full((2,), float(index)),
            onset=0,
            apex=9,
        )


@pytest.fixture
def numbered() -> StoreDataset:
    return StoreDataset(Numbered(), [0, 1, 0, 1, 2], frames=8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_store(tmp_path_factory.mktemp("dataset") / "casme2.zarr", subjects=2, clips=3)


def equal(one: ClipBatch, other: ClipBatch) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("texture", "depth", "au", "label"))


def test_a_draw_is_a_batch_of_one(numbered: StoreDataset) -> None:
    """T frames of one clip, texture and depth of the same frames, with its action units and label."""
    batch = numbered[ClipDraw(3)]
    assert batch.texture.shape == (1, 8, 3, 4, 4)
    assert batch.depth.shape == (1, 8, 1, 4, 4)
    assert (batch.texture.dtype, batch.depth.dtype) == (torch.uint8, torch.float16)
    frames = batch.texture[0, :, 0, 0, 0]
    assert frames.tolist() == [0, 3, 6, 9, 13, 16, 19, 22]
    torch.testing.assert_close(batch.depth[0, :, 0, 0, 0], frames.half() + 300)
    assert batch.au.tolist() == [[3, 3]]
    assert batch.targets().tolist() == [1]


def test_a_draw_depends_on_its_seed_alone(numbered: StoreDataset) -> None:
    """Not on what was read before; another seed draws other frames."""
    first = numbered[ClipDraw(2, 7)]
    for index in (4, 1, 0):
        numbered[ClipDraw(index, 99)]
    assert equal(numbered[ClipDraw(2, 7)], first)
    assert not equal(numbered[ClipDraw(2, 8)], first)


def test_batches_keep_the_order(numbered: StoreDataset) -> None:
    """Of clips in a part and of the parts."""
    with BatchReader(numbered, device=CPU) as reader:
        parts = [batch.au[:, 0].tolist() for batch in reader.read([[4, 0], [2, 2, 1]])]
    assert parts == [[4, 0], [2, 2, 1]]


def test_a_clip_drawn_twice_is_jittered_twice(numbered: StoreDataset) -> None:
    """Balanced sampling repeats clips; in other batches they show other frames. Without jitter they are equal."""
    with BatchReader(numbered, device=CPU) as reader:
        one, other = reader.read([[1], [1]], jitter=5)
        again, _ = reader.read([[1], [1]], jitter=5)
        later, _ = reader.read([[1], [1]], jitter=6)
        plain, same = reader.read([[1], [1]])
    assert equal(one, again)
    assert not equal(one, other)
    assert not equal(one, later)
    assert equal(plain, same)


def test_positions_are_found_by_key() -> None:
    """In the order that was asked for; an unknown key is an error, never another clip."""
    data = Clips(stores=(), contents=(), keys=("a", "b", "c", "d", "e"), labels=(0,) * 5, size=32)
    assert data.positions(["d", "a"]) == [3, 0]
    with pytest.raises(KeyError, match="x"):
        data.positions(["x"])


def test_join_is_the_inverse_of_select(numbered: StoreDataset) -> None:
    """Batches of one side by side."""
    clips = [numbered[ClipDraw(index)] for index in (2, 0, 4)]
    joined = join(clips)
    assert joined.label is not None
    assert len(joined) == 3
    for index, clip in enumerate(clips):
        assert equal(joined.select(torch.tensor([index])), clip)


def epochs(reader: BatchReader) -> Iterator[ClipBatch]:
    """As the trainer reads: statistics, then two epochs with other orders and draws, and a part of the clips."""
    parts: Sequence[tuple[list[list[int]], int | None]] = (
        ([[0, 1, 2], [3, 4, 5]], None),
        ([[5, 3], [1, 0], [2, 4]], 11),
        ([[4, 5, 0], [2, 1, 3]], 12),
        ([[3], [1]], None),
    )
    for order, jitter in parts:
        yield from reader.read(order, jitter=jitter)


@pytest.mark.slow
def test_spawned_readers_give_what_reading_here_gives(tiny: Store) -> None:
    """Over several epochs with other draws, in the same processes; the store is opened in them."""
    keys = [entry.key for entry in tiny.manifest.clips]
    dataset = StoreDataset(ClipReader([tiny.path], keys, size=32), [0] * 6, frames=8)
    with BatchReader(dataset, device=CPU) as here, BatchReader(dataset, device=CPU, loaders=2) as elsewhere:
        expected, found = list(epochs(here)), list(epochs(elsewhere))
    assert [len(batch) for batch in found] == [3, 3, 2, 2, 2, 3, 3, 1, 1]
    assert all(equal(a, b) for a, b in zip(found, expected, strict=True))
