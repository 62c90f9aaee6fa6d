"""The gallery: filters take what the manifest says, only what is shown is read, and nothing in a store is markup."""

from pathlib import Path

import pytest

from pipeline.view.clips import STORE_ORDER, WRONG_FIRST, Clips, Filter
from pipeline.view.gallery import PAGE, Gallery
from pipeline.view.predictions import Answer, ClipAnswers, RunPredictions
from pipeline.view.thumbnails import Thumbnails
from schemas.errors import ConfigError
from schemas.manifest import ClipEntry, Manifest
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store

KEYS = ("casme2/sub01/EP01", "casme2/sub01/EP02", "casme2/sub02/EP01", "casme2/sub03/EP01", "casme2/sub03/EP09")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("view") / "tiny.zarr", KEYS, failed=[KEYS[4]])


@pytest.fixture
def gallery(small: Store) -> Gallery:
    return Gallery(Clips(small.manifest, None), Thumbnails(small))


def with_clips(manifest: Manifest, *clips: ClipEntry) -> Manifest:
    fields = {name: getattr(manifest, name) for name in Manifest.model_fields}
    return Manifest.model_validate(fields | {"clips": clips})


def keys(found: list[ClipEntry]) -> list[str]:
    return [entry.key for entry in found]


def test_each_filter_leaves_its_clips(gallery: Gallery) -> None:
    gallery.facets["subject"].value = "casme2/sub01"
    assert keys(gallery.found) == [KEYS[0], KEYS[1]]
    assert gallery.cards.text.count("data-clip=") == 2
    gallery.choose(status="failed")
    assert keys(gallery.found) == [KEYS[4]]
    assert "no face in casme2/sub03/EP09" in gallery.cards.text  # the reason stands on the card
    gallery.choose()
    assert keys(gallery.found) == list(KEYS)
    assert "dataset" not in gallery.facets, "there is one dataset alone"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SUB03", [3, 4]),
        ("sub03 no face", [4]),
        ("two layouts", [0, 1, 2, 3]),  # in a finding's message
        ("subject=sub01|sub02", [0, 1, 2]),
        ("frames>=1,subject!=sub01", [2, 3]),
        ("nobody", []),
    ],
)
def test_text_is_words_or_conditions(gallery: Gallery, text: str, found: list[int]) -> None:
    gallery.text.value = text
    assert keys(gallery.found) == [KEYS[index] for index in found]


def test_a_wrong_condition_is_said_in_place_of_the_clips(gallery: Gallery) -> None:
    gallery.text.value = "emotoin=fear"
    assert "did you mean emotion?" in gallery.cards.text
    gallery.text.value = ""
    assert len(gallery.found) == len(KEYS)


def test_sorting_puts_clips_without_the_figure_last(small: Store) -> None:
    clips = Clips(small.manifest, None)
    lengths = {entry.key: entry.n_frames for entry in small.manifest.clips}
    found = clips.select(Filter({}), "frames", descending=True)
    assert [lengths[key] for key in keys(found)] == sorted(lengths.values(), reverse=True)
    assert keys(clips.select(Filter({}), "eye distance"))[-1] == KEYS[4]  # it failed: there is no face to measure


def answered(truth: int, *probabilities: tuple[float, ...]) -> ClipAnswers:
    return ClipAnswers(truth, tuple(Answer("fold", seed, values) for seed, values in enumerate(probabilities)))


@pytest.fixture
def run() -> RunPredictions:
    return RunPredictions(
        "madv_net on a/loso, 2 seeds",
        ("anger", "fear"),
        {
            KEYS[0]: answered(0, (0.9, 0.1), (0.7, 0.3)),  # right
            KEYS[1]: answered(1, (0.6, 0.4), (0.5, 0.5)),  # wrong by 0.1
            KEYS[2]: answered(1, (0.9, 0.1), (0.9, 0.1)),  # wrong by 0.8
        },
    )


def test_wrong_clips_come_first_and_those_not_tested_last(small: Store, run: RunPredictions) -> None:
    gallery = Gallery(Clips(small.manifest, run), Thumbnails(small))
    assert gallery.order.value == WRONG_FIRST
    assert keys(gallery.found) == [KEYS[2], KEYS[1], KEYS[0], KEYS[3], KEYS[4]]
    assert "✗ anger 0.90" in gallery.cards.text
    assert "✓ anger 0.80" in gallery.cards.text
    gallery.facets["answer"].value = "wrong"
    assert keys(gallery.found) == [KEYS[2], KEYS[1]]


def test_a_cell_of_the_confusion_matrix_filters(small: Store, run: RunPredictions) -> None:
    assert run.confusion().tolist() == [[1, 0], [2, 0]]
    gallery = Gallery(Clips(small.manifest, run), Thumbnails(small))
    gallery.choose(cell=(0, 0))
    assert keys(gallery.found) == [KEYS[0]]
    assert gallery.cell.label == "✕ anger, predicted anger"
    gallery.choose()
    assert len(gallery.found) == len(KEYS)


def test_of_10000_clips_only_the_page_that_is_shown_is_read(tmp_path: Path) -> None:
    """All other clips have no file, so that reading one would put the reason on a card."""
    real = [f"casme2/sub01/A{number:02d}" for number in range(2 * PAGE)]
    store = tiny_store(tmp_path / "store.zarr", real)
    like = store.manifest.clips[0]
    more = [like.model_copy(update={"key": f"casme2/sub02/B{number:05d}"}) for number in range(10_000 - len(real))]
    many = Store(store.path, with_clips(store.manifest, *store.manifest.clips, *more))
    vars(many)["group"] = store.group  # its arrays have no room for the others, which opening it would say
    thumbnails = Thumbnails(many)
    gallery = Gallery(Clips(many.manifest, None), thumbnails)
    gallery.order.value = "residual motion"
    gallery.order.value = STORE_ORDER
    assert keys(gallery.found)[0] == real[0]
    assert gallery.place.text == f"1 to {PAGE} of 10000 clips"
    gallery.turn(1)
    assert gallery.cards.text.count("data:image/jpeg") == 2 * PAGE
    assert thumbnails.of.cache_info().misses == 2 * PAGE
    gallery.turn(1)
    assert "reason" in gallery.cards.text, "a clip without files cannot be read: the fixture is what it should be"
    gallery.turn_to(real[3])
    assert gallery.place.text.startswith(f"1 to {PAGE} ")
    gallery.turn(10**6)
    assert gallery.place.text.endswith("to 10000 of 10000 clips")
    assert gallery.on.disabled


def test_nothing_in_a_store_is_markup(small: Store) -> None:
    entry = small.manifest.clips[0]
    label = entry.label.model_copy(update={"emotion": None, "raw_emotion": "<script>alert(1)</script>"})
    hostile = entry.model_copy(update={"label": label, "key": 'a/"><img src=x>/b'})
    store = Store(small.path, with_clips(small.manifest, hostile))
    text = Gallery(Clips(store.manifest, None), Thumbnails(store)).cards.text
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;" in text


def test_an_order_that_does_not_exist_is_no_condition(small: Store) -> None:
    with pytest.raises(ConfigError, match="expected FIELD=VALUE"):
        Clips(small.manifest, None).select(Filter({}, text="=3"), STORE_ORDER)
