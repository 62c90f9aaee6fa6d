"""Frames of a clip, orders of clips, batches, seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.sampling import batches, draw_seed, epoch_order, frame_indices


@st.composite
def clips(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Length, onset, apex, T."""
    length = draw(st.integers(1, 400))
    onset = draw(st.integers(0, length - 1))
    return length, onset, draw(st.integers(onset, length - 1)), draw(st.integers(3, 64))


@given(clips(), st.none() | st.integers(0, 2**32))
def test_frames_are_in_order_and_hold_the_three_that_matter(clip: tuple[int, int, int, int], seed: int | None) -> None:
    """Whatever the lengths, with jitter and without: T positions in order, onset first, last frame last, apex there."""
    length, onset, apex, frames = clip
    random = None if seed is None else np.random.default_rng(seed)
    chosen = frame_indices(length, onset=onset, apex=apex, frames=frames, random=random)
    assert len(chosen) == frames
    assert (np.diff(chosen) >= 0).all()
    assert chosen[0] == onset
    assert chosen[-1] == length - 1
    assert apex in chosen


@given(clips(), st.integers(0, 2**32))
def test_jitter_stays_in_its_part(clip: tuple[int, int, int, int], seed: int) -> None:
    """No frame is further from its place without jitter than half a part, but for those that make way for the apex."""
    length, onset, apex, frames = clip
    places = np.linspace(onset, length - 1, frames)
    chosen = frame_indices(length, onset=onset, apex=apex, frames=frames, random=np.random.default_rng(seed))
    half = (length - 1 - onset) / (2 * (frames - 1))
    near_apex = np.abs(places - apex) <= 2 * half
    assert (np.abs(chosen - places)[~near_apex] <= half + 0.5).all()
    assert (np.abs(chosen - places) <= 2 * half + 0.5).all()


def test_frames_without_jitter_are_always_the_same() -> None:
    """The middle of every part; of a clip as long as T every frame, of a shorter one some twice."""
    assert frame_indices(16, onset=0, apex=5, frames=16).tolist() == list(range(16))
    assert frame_indices(31, onset=0, apex=10, frames=16).tolist() == list(range(0, 31, 2))
    assert frame_indices(31, onset=0, apex=11, frames=16)[5:7].tolist() in ([10, 11], [11, 12])
    assert frame_indices(3, onset=0, apex=1, frames=8).tolist() == sorted(frame_indices(3, onset=0, apex=1, frames=8))
    assert set(frame_indices(3, onset=0, apex=1, frames=8)) == {0, 1, 2}
    assert frame_indices(1, onset=0, apex=0, frames=8).tolist() == [0] * 8


def test_jitter_reaches_every_part() -> None:
    """In many draws every frame is seen but the neighbours of onset, apex and last frame, whose parts are taken."""
    random = np.random.default_rng(0)
    seen = {int(i) for _ in range(200) for i in frame_indices(40, onset=0, apex=20, frames=8, random=random)}
    assert seen == {0, *range(3, 21), *range(25, 37), 39}


@given(st.integers(2, 200), st.integers(2, 70))
def test_batches_hold_every_clip_once_and_never_one_alone(count: int, size: int) -> None:
    """At least two, for batch norm, and at most one more than asked for."""
    order = np.random.default_rng(0).permutation(count)
    parts = list(batches(order, size))
    assert np.concatenate(parts).tolist() == order.tolist()
    assert all(2 <= len(part) <= size + 1 for part in parts)


def test_one_clip_is_a_batch() -> None:
    """Of a test part with one clip there is no neighbour to join."""
    assert [part.tolist() for part in batches(np.array([7]), 4)] == [[7]]


def test_shuffled_order_is_a_permutation() -> None:
    """Every clip once, in an order that the seed decides."""
    labels = [0] * 30 + [1] * 5
    first, again, other = (
        epoch_order(labels, sampling="shuffled", random=np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert sorted(first) == list(range(35))
    assert first.tolist() == again.tolist() != other.tolist()


def test_balanced_order_draws_classes_equally() -> None:
    """A class of 2 clips as often as one of 60, and an absent one never; inside a class every clip alike."""
    labels = [0] * 60 + [3] * 2 + [1] * 38
    random = np.random.default_rng(0)
    drawn = np.concatenate([epoch_order(labels, sampling="balanced", random=random) for _ in range(200)])
    assert len(drawn) == 200 * len(labels)
    shares = np.bincount(np.asarray(labels)[drawn], minlength=4) / len(drawn)
    assert shares == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=0.02)
    counts = np.bincount(drawn, minlength=100)
    assert counts[:60].min() > 60
    assert counts[60:62] == pytest.approx([len(drawn) / 6] * 2, rel=0.1)


def test_seeds_are_the_same_on_every_machine() -> None:
    """A constant, since a run may go on elsewhere; other purposes have other seeds."""
    assert draw_seed(0, "casme2/sub01", 3, "clips") == 3107705284552300498
    assert len({draw_seed(seed, fold, epoch) for seed in range(9) for fold in "ab" for epoch in range(9)}) == 162
    assert all(0 <= draw_seed(n) < 2**63 for n in range(100))
