"""The report: its numbers are the result's, it stands alone, it says what is missing, and a browser shows it."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.inspect.figures import depth_disparity
from schemas.errors import ConfigError, RunFolderError
from schemas.labels import Label
from schemas.output import write_text
from schemas.store.reader import Store
from tests.training.labelled_manifests import make_entry, make_manifest
from tests.training.report.browser import find_browser, measure
from tests.training.report.page_tables import Tables
from tests.training.run_folders import make_run_folder
from tests.training.small_stores import MODEL, small_store
from training.evaluation.ablation import ABLATION_FILE, Ablation, AblationVariant
from training.evaluation.metrics import METRICS
from training.evaluation.predictions import concatenate, read_predictions
from training.evaluation.result import EvaluationResult, Spread
from training.fit.folder import Run, RunFolder
from training.protocols.protocol import Protocol
from training.protocols.splits import Loso
from training.protocols.tasks import DatasetRule, Task
from training.report.attention import Attention, attention_at_apex, over_face
from training.report.depth import depth_figure
from training.report.drawing import style
from training.report.examples import choose_examples
from training.report.paper_numbers import paper_tables
from training.report.report import write_report
from training.report.training_curves import read_curves

NASTY = "<script>alert('a&b')</script> $x^2$"


def two_classes(*datasets: str, classes: tuple[str, str] = ("happy", "surprised")) -> Protocol:
    rules = tuple(
        DatasetRule(
            dataset=name,
            classes=dict(zip(("happiness", "surprise"), classes, strict=True)),
            expected=dict.fromkeys(classes, 6),
            expected_subjects=3,
        )
        for name in datasets
    )
    return Protocol(task=Task(name="two", title="Two classes", classes=classes, datasets=rules), split=Loso())


def square_regions(size: int) -> dict[str, np.ndarray]:
    """Two action units in opposite corners."""
    masks = {name: np.zeros((size, size), bool) for name in ("AU01", "AU26")}
    masks["AU01"][:20, :20] = True
    masks["AU26"][-30:, -30:] = True
    return masks


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_store(tmp_path_factory.mktemp("stores") / "casme2.zarr")


@pytest.fixture(scope="module")
def whole(store: Store, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run with models and depth, and its report."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    folder = make_run_folder(path, [store], two_classes("casme2"), validation=0.5, model=MODEL)
    assert write_report(folder, [store], regions=square_regions) == folder.report
    return folder


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two datasets without arrays, whose names are markup and mathematics, and an ablation."""
    work = tmp_path_factory.mktemp("odd")
    stores = []
    for dataset in ("casme2", "a<b>$x$"):
        keys = [f"{dataset}/{NASTY.replace('/', '')}{n}/{c}" for n in range(2) for c in ("happiness", "surprise")]
        entries = [make_entry(key, Label(emotion=key.split("/")[-1])) for key in keys]  # type: ignore[arg-type]
        manifest = make_manifest(dataset, entries).sealed()
        stores.append(Store(work / f"{len(stores)}<i>.zarr", manifest))
    protocol = two_classes("casme2", "a<b>$x$", classes=("happy", NASTY))
    folder = make_run_folder(work / "run", stores, protocol, seeds=(0,))
    write_text(folder.path / ABLATION_FILE, ablation().model_dump_json())
    write_report(folder, stores)
    return folder


def ablation() -> Ablation:
    def spread(mean: float, sd: float | None = None) -> Spread:
        return Spread(mean=mean, sd=sd, interval=None)

    full = AblationVariant(
        name="full", switched_off="", metrics={"uf1": spread(0.6123, 0.01), "uar": spread(0.7)}, differences=None
    )
    without = AblationVariant(
        name="no-depth",
        switched_off=f"depth {NASTY}",
        options={"depth": False},
        metrics={"uf1": spread(0.5, 0.02), "uar": spread(0.55)},
        differences={"uf1": spread(-0.1123, 0.003), "uar": spread(-0.15)},
    )
    return Ablation(
        model="madv_net", protocol="two/loso", protocol_sha256="0", labels_sha256="0", seeds=(0, 1),
        caveats=("The clips are NOT the published ones.",), variants=(full, without),
    )  # fmt: skip


@pytest.mark.slow
def test_every_number_is_that_of_the_result(whole: RunFolder) -> None:
    """Headline with its floors, classes, confusion and subjects stand in the page as ``result.json`` has them."""
    result = EvaluationResult.model_validate_json(whole.result.read_bytes())
    tables, group = Tables(whole.report).found, result.headline
    headline = tables["casme2: 12 clips, 3 subjects, 2 seeds"]
    for metric, row in zip(METRICS, headline[1:], strict=True):
        spread, (majority, guesser) = group.metrics[metric], (floor.metrics[metric] for floor in group.floors)
        assert spread.interval is not None
        assert row[1:] == [
            f"{spread.mean:.3f} ± {spread.sd:.3f}",
            f"{spread.interval.low:.3f} to {spread.interval.high:.3f}",
            f"{majority.expected:.3f}",
            f"{guesser.expected:.3f} ({guesser.low:.3f} to {guesser.high:.3f})",
        ]
    for scores, row in zip(group.pooled.classes, tables["classes of casme2, all seeds pooled"][1:], strict=True):
        clips = str(group.class_clips[scores.name])
        assert row[:5] == [
            scores.name, clips, f"{scores.accuracy:.3f}", f"{scores.precision:.3f}", f"{scores.f1:.3f}"
        ]  # fmt: skip
    assert result.calibration is not None
    assert f"{result.calibration.expected_calibration_error:.3f} on average" in whole.report.read_text()
    confusion = [re.findall(r"\d+(?= \()", " ".join(row)) for row in tables["confusion of casme2 as numbers"][1:]]
    assert [[int(count) for count in row] for row in confusion] == [list(row) for row in group.pooled.confusion]
    subjects = {row[0]: row[-2:] for row in tables["subjects as numbers"][1:]}
    assert subjects == {s.subject: [f"{value:.3f}" for value in s.accuracy.values()] for s in result.subjects}


@pytest.mark.slow
def test_caveats_stand_before_the_numbers(odd: RunFolder, whole: RunFolder) -> None:
    """All of them, in a box above the first table; no box where there is nothing to say."""
    page = odd.report.read_text(encoding="utf-8")
    box = unescape(page[page.index('class="caveats"') : page.index("<table")])
    result = EvaluationResult.model_validate_json(odd.result.read_bytes())
    assert [caveat[:30] for caveat in result.caveats] == [
        "The clips are NOT the publishe", "One seed: how much of the resu"
    ]  # fmt: skip
    for caveat in result.caveats:
        assert caveat in box
    assert "NOT the published ones" in page[: page.index('class="caveats"')]
    assert 'class="caveats"' not in whole.report.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("which", ["whole", "odd"])
def test_nothing_outside_the_page_is_referred_to(which: str, request: pytest.FixtureRequest) -> None:
    """No address but of its own parts and of embedded pictures, which a policy in the page also enforces."""
    page = request.getfixturevalue(which).report.read_text(encoding="utf-8")
    references = re.findall(r'(?:href|src|action|data|poster)\s*=\s*"([^"]*)"|url\(([^)]*)\)', page)
    found = {(attribute or style).strip("'\"") for attribute, style in references}
    assert found
    assert {
        name for name in found if not name.startswith(("#", "data:image/png;base64,", "data:image/webp;base64,"))
    } == set()
    anchors = {name[1:] for name in found if name.startswith("#")}
    names = re.findall(r' id="([^"]*)"', page)
    assert anchors <= set(names)
    assert len(set(names)) == len(names)
    bare = re.sub(r"data:image/(png|webp);base64,[A-Za-z0-9+/=\s]*", "", page)
    assert not re.findall(r"https?:|//|@import|<script|<link|<iframe", bare.split("</style>", 1)[1])
    assert "default-src 'none'" in bare.split("</style>", 1)[0]


@pytest.mark.slow
def test_names_are_text(odd: RunFolder) -> None:
    """A class, subject, dataset or variant that looks like markup is shown as it is written, in figures too."""
    page = odd.report.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    tables = Tables(odd.report).found
    assert {row[0] for row in tables["classes of composite, all seeds pooled"][1:]} == {"happy", NASTY}
    figure = page[page.index('id="figure-confusion-composite"') :]
    assert "$x^2$" in figure[: figure.index("</figure>")]


@pytest.mark.slow
def test_each_dataset_of_a_composite_is_shown(odd: RunFolder) -> None:
    """A headline and a confusion matrix each, beside those of the composite."""
    tables = Tables(odd.report).found
    for name, clips in (("composite", 8), ("casme2", 4), ("a<b>$x$", 4)):
        assert any(caption.startswith(f"{name}: {clips} clips") for caption in tables)
        assert f"confusion of {name} as numbers" in tables
    assert sorted(path.name for path in odd.path.glob("figures/confusion-*.png")) == [
        "confusion-a-b-x-.png", "confusion-casme2.png", "confusion-composite.png"
    ]  # fmt: skip


@pytest.mark.slow
def test_the_ablation_is_shown_where_there_is_one(odd: RunFolder, whole: RunFolder) -> None:
    """Every variant with its scores and its distance from the full model; its caveats too."""
    rows = Tables(odd.report).found["madv_net under two/loso, 2 seeds"]
    assert rows[1:] == [
        ["full", "nothing", "0.612 ± 0.010", "-", "0.700", "-"],
        ["no-depth", f"depth {NASTY}", "0.500 ± 0.020", "-0.112 ± 0.003", "0.550", "-0.150"],
    ]
    assert "No ablation was run" in whole.report.read_text(encoding="utf-8")
    assert "No ablation was run" not in odd.report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_is_missing_is_said(odd: RunFolder) -> None:
    """Without models and arrays the page is whole but for their figures, and says why."""
    page = odd.report.read_text(encoding="utf-8")
    assert "model.safetensors: no such file" in page
    assert "Not shown: " in page[page.index('<section id="depth"') :]
    assert 'id="figure-attention"' not in page
    assert 'id="figure-depth-disparity"' not in page
    assert 'id="figure-result"' in page


def test_a_run_with_a_failed_fold_has_a_page_without_a_result(store: Store, tmp_path: Path) -> None:
    """It names the fold and the reason, shows the curves, and no score."""
    folder = make_run_folder(tmp_path / "run", [store], two_classes("casme2"), failed=["casme2/sub02"])
    page = write_report(folder, [store]).read_text(encoding="utf-8")
    assert "There is no result: 2 of 6 folds are not done" in page
    assert "seed 0, casme2/sub02 failed: TrainingDivergedError: the loss of epoch 2 is &lt;nan&gt;" in page
    assert {path.stem for path in folder.figures.glob("*.png")} == {"curves", "depth-disparity"}
    assert "The regions of the action units were not given" in page
    rows = {row[0]: row[-2:] for row in Tables(folder.report).found["3 folds"][1:]}
    assert rows["casme2/sub02"] == ["failed", "failed"]
    assert rows["casme2/sub01"] == ["done", "done"]


@pytest.mark.slow
def test_pre_training_has_a_page_of_its_curves(store: Store, tmp_path: Path) -> None:
    """No labels, no result, no score; the same run gives the same bytes."""
    folder = make_run_folder(tmp_path / "run", [store], two_classes("casme2"), seeds=(0,))
    run = folder.read()
    folder.write(Run.model_validate(run.model_dump() | {"protocol": None, "objective": "frame_difference"}))
    folder.result.unlink()
    first = write_report(folder, [store]).read_bytes()
    assert b"UF1" not in first
    assert b'id="figure-curves"' in first
    assert write_report(folder, [store]).read_bytes() == first


@pytest.mark.slow
def test_figures_are_files_too(whole: RunFolder) -> None:
    """Each figure of the page lies beside it as a PNG of print size and as a PDF with its fonts."""
    page = whole.report.read_text(encoding="utf-8")
    names = set(re.findall(r'<figure id="figure-([^"]*)"', page))
    assert names == {
        "result", "confusion-casme2", "calibration", "curves", "loss-terms", "subjects", "attention", "depth-disparity"
    }  # fmt: skip
    for name in names:
        with Image.open(whole.figures / f"{name}.png") as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 5
        pdf = (whole.figures / f"{name}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF")
        assert b"/Type3" not in pdf


@pytest.mark.slow
def test_curves_are_mean_and_range_over_folds_and_seeds(whole: RunFolder) -> None:
    """Of 3 folds and 2 seeds, whose losses are 4 / e and 4 / e + 1; blank columns are no curve."""
    files = [fold.metrics for fold in whole.folds(whole.read())]
    loss = read_curves(files)["loss"]
    assert loss.epochs.tolist() == [1, 2, 3]
    assert loss.mean == pytest.approx([4.5, 2.5, 4 / 3 + 0.5])
    assert loss.low == pytest.approx([4, 2, 4 / 3])
    assert loss.high == pytest.approx([5, 3, 7 / 3])
    blank = files[0].with_name("blank.csv")
    blank.write_text("epoch,loss,validation_loss\n1,2.0,\n2,nan,\n")
    assert {name: curve.epochs.tolist() for name, curve in read_curves([blank]).items()} == {"loss": [1]}


@pytest.mark.slow
def test_examples_are_the_median_of_their_class(whole: RunFolder, store: Store) -> None:
    """As many clips of the class got a higher probability of it as got a lower one, but for one."""
    run = whole.read()
    folders = list(whole.folds(run))
    examples = choose_examples(run, folders, [store])
    assert [example.label for example in examples] == ["happy", "surprised"]
    of_seed = concatenate(read_predictions(fold.predictions) for fold in folders if fold.seed == 0)
    for example in examples:
        emotion = {"happy": "happiness", "surprised": "surprise"}[example.label]
        own = [
            of_seed.probabilities[row, of_seed.classes.index(example.label)]
            for row, key in enumerate(of_seed.clips)
            if key.split("/")[-1].startswith(emotion)
        ]
        assert len(own) == 6
        assert sum(value < example.probability for value in own) == 2
        assert example.key in example.folder.fold.test


@pytest.mark.slow
def test_attention_is_the_models_own(whole: RunFolder, store: Store) -> None:
    """Weights of three levels over both streams, none on a discarded block; an even weight is no preference."""
    example = choose_examples(whole.read(), list(whole.folds(whole.read())), [store])[0]
    found = attention_at_apex(example)
    assert list(found.weights) == list(found.kept) == ["low", "mid", "high"]
    assert all(weights.shape[0] == 2 for weights in found.weights.values())
    for level, kept in found.kept.items():
        assert found.weights[level][~kept].sum() == 0
    even = Attention({"one": np.full((1, 2, 2), 0.1, np.float32)}, {})
    assert np.abs(even.preferences()["one"]).max() == pytest.approx(0)
    kept = np.array([[[True, True], [True, False]]])
    weights = np.array([[[0.4, 0.1], [0.1, 0.0]]], np.float32)
    assert Attention({"one": weights}, {"one": kept}).preferences()["one"].tolist() == [
        [pytest.approx([1.0, -1.0]), pytest.approx([-1.0, -np.inf])]
    ]


def test_the_face_is_coloured_by_preference() -> None:
    """Nothing where there is none, orange where there is more, blue where there is less, stripes where discarded."""
    face = np.full((96, 96, 3), 100, np.uint8)
    kept = np.array([[True, True], [True, False]])
    shown = over_face(face, np.array([[0.0, 1.0], [-1.0, -1.0]]), kept).astype(int)
    assert np.abs(shown[:48, :48] - 100).max() <= 1
    assert (shown[:48, 48:, 0] > shown[:48, 48:, 2] + 50).all()
    assert (shown[48:, :48, 2] > shown[48:, :48, 0] + 50).all()
    discarded = shown[48:, 48:]
    assert np.ptp(discarded, axis=2).max() == 0
    assert len(np.unique(discarded)) == 2


@pytest.mark.slow
def test_depth_courses_are_those_that_show_draws(whole: RunFolder, store: Store) -> None:
    """The report and `mer show` cannot disagree about the depth of an action unit's region."""
    example = choose_examples(whole.read(), list(whole.folds(whole.read())), [store])[0]
    with style():
        figure = depth_figure([example], square_regions, "depth by mesh: prior, not measured")
    drawn = {str(line.get_label()): line.get_ydata() for line in figure.axes[2].lines}
    depth, masks = store.depth(example.key), square_regions(112)
    expected = depth_disparity(depth, 0, masks)
    assert np.abs(expected["AU01"]).max() + np.abs(expected["AU26"]).max() > 0.01
    for name, curve in expected.items():
        assert drawn[name] == pytest.approx(curve)


@pytest.mark.slow
def test_long_frame_numbers_can_be_read(whole: RunFolder, store: Store) -> None:
    """Those of SMIC have seven digits: written out, and none on another; axes and figure say what they show."""
    example = choose_examples(whole.read(), list(whole.folds(whole.read())), [store])[0]
    with style():
        figure = depth_figure([example], square_regions, "depth by mesh: prior, not measured")
        axes = figure.axes[2]
        axes.lines[0].axes.set_xlim(1_008_310, 1_008_345)
        figure.draw_without_rendering()
    low, high = axes.get_xlim()
    shown = [t for t, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True) if low <= at <= high]
    assert len(shown) > 1
    assert all(text.get_text().startswith("1008") for text in shown)
    boxes = [text.get_window_extent() for text in shown]
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("frame", "change (share of the range)")
    assert figure.get_suptitle() == "depth by mesh: prior, not measured"


def test_the_papers_tables_are_consistent_with_their_caveats() -> None:
    """Fourteen methods each; the average is the mean over classes; the abstract's four figures; Table 5's oddity."""
    assert [table.number for table in paper_tables()] == [2, 3, 4, 5]
    for table in paper_tables():
        assert len(table.rows) == 14
        for row in table.rows:
            assert len(row.classes) == len(table.classes)
            assert row.average == pytest.approx(np.mean(row.classes), abs=0.01)
    assert [table.rows[-1].average for table in paper_tables()] == [72.87, 89.94, 83.32, 89.53]
    assert {table.rows[-1].method for table in paper_tables()} == {"MADV-Net"}
    for row in paper_tables()[3].rows:
        assert row.classes[-1] == pytest.approx(np.mean(row.classes[:-1]), abs=0.07)


@pytest.mark.slow
def test_the_papers_numbers_stand_apart(whole: RunFolder) -> None:
    """In a section of their own, after the caveat; only the table of the run's dataset."""
    page = whole.report.read_text(encoding="utf-8")
    section = page[page.index('<section id="paper"') : page.index('<section id="run"')]
    assert section.index("not comparable with the result above") < section.index("Table 3: CASME-II")
    assert "89.94" in section
    assert "89.94" not in page.replace(section, "")
    assert "Table 5: SAMM" not in page


@pytest.mark.slow
def test_other_stores_are_refused(whole: RunFolder, tmp_path: Path) -> None:
    """Example clips of another store would be shown under the run's numbers."""
    other = small_store(tmp_path / "other.zarr", subjects=2)
    with pytest.raises(ConfigError, match=r"trained on casme2\.zarr; found .*other\.zarr, none of which is the casme2"):
        write_report(whole, [other])


def test_a_damaged_result_is_named(store: Store, tmp_path: Path) -> None:
    """No page is made of a file that cannot be read as what it is."""
    folder = make_run_folder(tmp_path / "run", [store], two_classes("casme2"), seeds=(0,))
    folder.result.write_text(folder.result.read_text().replace('"ties"', '"tiez"'))
    with pytest.raises(RunFolderError, match=r"result\.json: damaged or of another version: .*tie"):
        write_report(folder, [store])
    assert not folder.report.exists()


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it(whole: RunFolder, tmp_path: Path, dark: bool) -> None:
    """In Chromium without a network: title, figures with a size, readable colours, and no word on the console."""
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium here; it comes with the packages `chromium` or `google-chrome-stable`")
    found = measure(browser, whole.report, tmp_path / "work", dark=dark)
    assert found["title"] == "madv_net on two/loso"
    assert len(found["console"]) == 1, found["console"]  # our own line, so that silence means silence
    assert "measured" in found["console"][0]
    assert len(found["figures"]) == 8
    for name, (width, height) in found["figures"].items():
        assert 200 < width <= 1000, name
        assert height > 100, name
    assert set(found["images"]) == {"data:image"}
    assert found["width"][0] <= found["width"][1]
    text, ground = (np.mean([int(part) for part in re.findall(r"\d+", colour)[:3]]) for colour in found["colours"])
    assert (text - ground if dark else ground - text) > 150
    assert found["ink"] == found["colours"][0]
