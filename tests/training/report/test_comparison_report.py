"""A comparison's page and tables: their numbers are the result's, no model is lost, and names are text everywhere."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from schemas.labels import Label
from tests.training.labelled_manifests import casme2, make_entry, make_manifest
from tests.training.report.browser import find_browser, measure
from tests.training.report.made_up_comparisons import REASON, make_comparison, write_curves
from tests.training.report.page_tables import Tables
from training.evaluation.comparison import ComparisonResult
from training.evaluation.metrics import METRIC_TITLES
from training.models.registry import model_names
from training.protocols.protocol import Protocol, find_protocol
from training.protocols.splits import Loso
from training.protocols.tasks import DatasetRule, Task
from training.report.comparison import write_comparison
from training.report.comparison_curves import model_curves_figure, spread_out
from training.report.comparison_figures import against_figure, cost_figure
from training.report.comparison_tables import against_table, duration, model_title, p_value, quantity
from training.report.drawing import style
from training.report.page import Table
from training.report.paper_numbers import paper_tables
from training.report.table_files import as_csv, as_latex, as_markdown
from training.report.training_curves import read_curves

SKILLS = {"madv_net": 0.5, "c3d": None, "r2plus1d-18": 0.2, "au-logistic": 0.05}
NASTY = "<b>a_b|c\\d</b> & 5% $x^2$"


def odd_protocol() -> Protocol:
    """Two classes, one of them called like markup, on a known dataset and one called like markup."""
    classes = ("happy", NASTY)
    rules = tuple(
        DatasetRule(
            dataset=dataset, classes=dict(zip(("happiness", "surprise"), classes, strict=True)),
            expected=dict.fromkeys(classes, 2), expected_subjects=2,
        )
        for dataset in ("casme2", "a<b>$x$")
    )  # fmt: skip
    return Protocol(task=Task(name="two", title="Two classes", classes=classes, datasets=rules), split=Loso())


@pytest.fixture(scope="module")
def result() -> ComparisonResult:
    return make_comparison(SKILLS, find_protocol("casme2-5"), [casme2()], replicates=600)


@pytest.fixture(scope="module")
def page(result: ComparisonResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four models, one of which failed, with three seeds on 26 subjects."""
    folder = tmp_path_factory.mktemp("comparison")
    curves = write_curves(folder / "curves", SKILLS, epochs=8, validation=False)
    path = write_comparison(folder, result, curves)
    assert path == folder / "comparison.html"
    return path


@pytest.fixture(scope="module")
def odd_result() -> ComparisonResult:
    """Two models, one with an odd name, one seed, two subjects a dataset."""
    protocol = odd_protocol()
    manifests = [
        make_manifest(
            rule.dataset,
            (
                make_entry(f"{rule.dataset}/s{subject}/{emotion}", Label(emotion=emotion))
                for subject in (1, 2)
                for emotion in ("happiness", "surprise")
            ),
        )
        for rule in protocol.task.datasets
    ]
    made = make_comparison({"r3d-18": 0.6, NASTY: 0.1}, protocol, manifests, seeds=(3,))
    return made.model_copy(update={"models": tuple(m.model_copy(update={"cost": None}) for m in made.models)})


@pytest.fixture(scope="module")
def odd(odd_result: ComparisonResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison(tmp_path_factory.mktemp("odd"), odd_result, {})


def read_csv(page: Path, name: str) -> list[list[str]]:
    with (page.parent / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def body(page: Path, name: str) -> dict[str, list[str]]:
    """Name of a row -> its other cells."""
    return {row[0]: row[1:] for row in read_csv(page, name)[1:]}


def test_scores_are_those_of_the_result(page: Path, result: ComparisonResult) -> None:
    """Mean, sd and interval of three metrics for each model in its order, then both floors."""
    rows = read_csv(page, "scores-casme2")
    assert rows[0] == ["model", *(h for m in ("UF1", "UAR", "accuracy") for h in (m, "95% interval"))]
    expected = []
    for model in result.models:
        if model.failure is not None:
            expected.append([model_title(model.name), f"no result: {REASON}", "", "", "", "", ""])
            continue
        cells = [model_title(model.name)]
        for metric in ("uf1", "uar", "accuracy"):
            spread = model.groups["casme2"].metrics[metric]
            assert spread.interval is not None
            assert spread.mean == pytest.approx(
                np.mean([getattr(s, metric) for s in model.groups["casme2"].seeds.values()])
            )
            cells += [f"{spread.mean:.3f} ± {spread.sd:.3f}"]
            cells += [f"{spread.interval.low:.3f} to {spread.interval.high:.3f}"]
        expected.append(cells)
    majority, guesser = ([f.metrics[m] for m in ("uf1", "uar", "accuracy")] for f in result.models[0].headline.floors)
    expected.append(["majority class", *(cell for g in majority for cell in (f"{g.expected:.3f}", "-"))])
    expected.append(
        ["class-prior guesser", *(c for g in guesser for c in (f"{g.expected:.3f}", f"{g.low:.3f} to {g.high:.3f}"))]
    )
    assert rows[1:] == expected


def test_the_papers_kind_of_table_and_the_papers_numbers_apart(page: Path, result: ComparisonResult) -> None:
    """Ours are the result's; the paper's stand in columns of their own, in which a model that it lacks has none."""
    rows = body(page, "classes-casme2")
    for model in result.models:
        cells = rows[model_title(model.name)]
        if model.failure is not None:
            assert cells[0] == f"no result: {REASON}"
            continue
        own = model.headline
        assert cells[:5] == [f"{100 * scores.accuracy:.2f}" for scores in own.pooled.classes]
        assert cells[5:7] == [f"{100 * own.metrics['uar'].mean:.2f}", f"{own.metrics['macro_f1_eq30'].mean:.2f}"]
        paper = paper_tables()[1].row_of(model.name)
        assert cells[7:] == (["-", "-"] if paper is None else [f"{paper.average:.2f}", f"{paper.macro_f1:.2f}"])
    text = page.read_text(encoding="utf-8")
    section = text[text.index('<section id="classes"') : text.index('<section id="differences"')]
    assert section.index("not comparable with the result above") < section.index("<table")
    assert len(re.findall(r'<td class="apart">', section)) == 2 * 3  # not in the row that has no result
    assert "89.94" not in text[: text.index('<section id="classes"')]


def test_every_method_of_the_paper_has_its_model() -> None:
    """Fourteen names of the registry, each in all four tables."""
    for table in paper_tables():
        assert [row.method for row in table.rows] == [
            "C3D", "R(2+1)D-18", "3D ResNet-18", "EC-STFL", "ResNet-18 + LSTM", "ResNet-18 + GRU", "Former-DFER",
            "CEFLNet", "EST", "STT", "NR-DFERNet", "VideoMAE", "MAE-DFER", "MADV-Net",
        ]  # fmt: skip
        assert {row.model for row in table.rows} == set(model_names()) - {
            "ststnet",
            "au-encoder",
            "au-logistic",
            "flow-logistic",
        }
        assert table.row_of("ststnet") is None


def test_differences_are_those_of_the_result(page: Path, result: ComparisonResult) -> None:
    """Every pair with its tests; seen from the best, with the sign turned where it is the second."""
    rows = read_csv(page, "differences")[1:]
    assert len(rows) == len(result.pairs) == 3
    for row, pair in zip(rows, result.pairs, strict=True):
        uf1, uar = pair.differences["uf1"], pair.differences["uar"]
        assert row[:3] == [model_title(pair.first), model_title(pair.second), f"{uf1.mean:+.3f}"]
        assert row[4:6] == [p_value(uf1.p), p_value(uf1.p_corrected)]
        assert uar.interval is not None
        assert row[6:8] == [f"{uar.mean:+.3f}", f"{uar.interval.low:+.3f} to {uar.interval.high:+.3f}"]
        assert row[10:12] == [str(pair.mcnemar.first_only), str(pair.mcnemar.second_only)]
        assert row[12:] == [p_value(pair.mcnemar.p), p_value(pair.mcnemar.p_corrected)]
    against = body(page, "differences-best")
    assert list(against) == ["R(2+1)D-18", "AU logistic regression"]
    assert against["R(2+1)D-18"][0] == f"{result.pairs[0].differences['uf1'].mean:+.3f}"
    text = page.read_text(encoding="utf-8")
    sure = sum(pair.differences["uf1"].p_corrected < 0.05 for pair in result.pairs)
    assert f"Pairs that differ, of 3, at p &lt; 0.05 after Holm&#39;s correction for their number: {sure} in" in text
    assert "no p by subject can be less" not in text
    assert sure >= 2


def test_a_model_that_is_second_in_its_pair_is_turned_round(odd_result: ComparisonResult) -> None:
    """Difference, interval and counts of McNemar's test change sides together."""
    pair = odd_result.pairs[0]
    (row,) = against_table(odd_result, NASTY).rows
    uf1 = pair.differences["uf1"]
    assert uf1.mean != 0
    assert row[0] == "3D ResNet-18"
    assert float(row[1]) == pytest.approx(-uf1.mean, abs=6e-4)
    if uf1.interval is not None:
        low, high = map(float, row[2].split(" to "))
        assert (low, high) == pytest.approx((-uf1.interval.high, -uf1.interval.low), abs=6e-4)
    assert list(row[7:9]) == [str(pair.mcnemar.second_only), str(pair.mcnemar.first_only)]


def test_cost_confusion_and_conditions_are_those_of_the_result(page: Path, result: ComparisonResult) -> None:
    """In words that a reader can read."""
    costs, trained = body(page, "cost"), body(page, "models")
    counts: dict[str, list[list[int]]] = {}
    for row in read_csv(page, "confusion-casme2")[1:]:
        counts.setdefault(row[0], []).append([int(cell.split(" ")[0]) for cell in row[2:] if cell])
    for model in result.models:
        title = model_title(model.name)
        assert trained[title][0] == model.name
        if model.cost is None:
            assert costs[title][0] == f"no result: {REASON}"
            continue
        assert costs[title][0] == quantity(model.cost.parameters)
        assert costs[title][1] == quantity(model.cost.macs)
        assert costs[title][2] == f"{1000 * model.cost.latency:.1f}"
        assert costs[title][3:] == [duration(model.cost.training_seconds), "120 to 124", "0"]
        assert trained[title][2:] == ["20", "8", "5e-05", "16", "112", "random"]
        assert counts[title] == [list(row) for row in model.headline.pooled.confusion]
    conditions = body(page, "conditions")
    assert conditions["budget"] == ["20 epochs"]
    assert conditions["sha256 of the protocol"] == [result.protocol_sha256]


@pytest.mark.parametrize("which", ["page", pytest.param("odd", marks=pytest.mark.slow)])
def test_files_hold_the_pages_tables(which: str, request: pytest.FixtureRequest) -> None:
    """Every table of the page lies beside it in three forms, cell by cell the same."""
    path = request.getfixturevalue(which)
    shown = list(Tables(path).found.values())
    files = {file.stem for file in (path.parent / "tables").iterdir()}
    assert len(files) == len(shown)
    for name in files:
        rows = read_csv(path, name)
        heads = [rows[0]] if any(rows[0]) else []
        wanted = [[cell for i, cell in enumerate(row) if cell or i == 0] for row in [*heads, *rows[1:]]]
        assert wanted in [[[c for i, c in enumerate(row) if c or i == 0] for row in table] for table in shown], name
        latex = (path.parent / "tables" / f"{name}.tex").read_text(encoding="utf-8")
        assert latex.count(r"\\") == len(wanted)
        pipes = [line for line in (path.parent / "tables" / f"{name}.md").read_text().splitlines() if line[:1] == "|"]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in pipes} == {len(rows[0]) + 1}
        assert len(pipes) == len(rows) + 1


def test_tables_escape_what_their_format_would_read() -> None:
    """CSV comes back as it was; LaTeX and Markdown have no letter left that means something to them."""
    table = Table(f"t {NASTY}", ("model", "a, b", "c"), (("[x]", '"q"', "*y*\nz"), (NASTY, "no result")), strong=0)
    assert list(csv.reader(as_csv(table).splitlines(keepends=True))) == [
        ["model", "a, b", "c"], ["[x]", '"q"', "*y*\nz"], [NASTY, "no result", ""]
    ]  # fmt: skip
    latex = as_latex(table)
    assert r"\textless{}b\textgreater{}a\_b\textbar{}c\textbackslash{}d" in latex
    assert r"\& 5\% \$x\textasciicircum{}2\$ & \multicolumn{2}{l}{no result} \\" in latex
    assert r"\textbf{{[}x{]}} & \textbf{\textquotedbl{}q\textquotedbl{}} & \textbf{{*}y{*} z} \\" in latex
    assert latex.count("{") == latex.count("}")
    markdown = as_markdown(table)
    assert r"| &lt;b&gt;a\_b\|c\\d&lt;/b&gt; &amp; 5% \$x^2\$ | no result |  |" in markdown
    assert r'| **\[x\]** | **"q"** | **\*y\* z** |' in markdown


@pytest.mark.slow
def test_names_are_text_and_the_page_stands_alone(odd: Path, page: Path) -> None:
    """Models, classes and datasets that look like markup; no address but of the page's own parts."""
    for path in (odd, page):
        text = path.read_text(encoding="utf-8")
        assert "<b>" not in text
        references = {
            (a or b).strip("'\"")
            for a, b in re.findall(r'(?:href|src|action|data|poster)\s*=\s*"([^"]*)"|url\(([^)]*)\)', text)
        }
        assert references
        assert {name for name in references if not name.startswith("#")} == set()
        names = re.findall(r' id="([^"]*)"', text)
        assert {name[1:] for name in references} <= set(names)
        assert len(set(names)) == len(names)
    assert {row[0] for row in read_csv(odd, "scores-composite")[1:3]} == {"3D ResNet-18", NASTY}


@pytest.mark.slow
def test_what_cannot_be_said_is_said(odd: Path, page: Path, odd_result: ComparisonResult) -> None:
    """Caveats stand first; without curves or a table of the paper the page says so."""
    text = odd.read_text(encoding="utf-8")
    box = text[text.index('class="caveats"') : text.index("<table")]
    assert box.count("<li>") == 1
    assert odd_result.caveats[0] in box
    assert "With 4 subjects and 1 pair no p by subject can be less than 0.12 after the correction" in text
    assert "No fold has finished an epoch." in text
    assert "The paper&#39;s Table 3 tells 5 classes apart, this comparison 2: not even the task is the same." in text
    whole = page.read_text(encoding="utf-8")
    assert "These are curves of training clips. Test clips are in none of them" in whole
    for caption in ("figure-differences", "figure-differences-best", "figure-cost", "figure-confusion-casme2"):
        assert "Without a result: C3D." in whole[whole.index(caption) :].split("</figcaption>", 1)[0]


def test_a_comparison_in_which_all_failed_has_a_page(result: ComparisonResult, tmp_path: Path) -> None:
    """Of reasons alone, which stand in it with the models' names."""
    failed = tuple(m.model_copy(update={"groups": {}, "cost": None, "failure": "no memory"}) for m in result.models)
    none = result.model_copy(update={"models": failed, "pairs": ()})
    path = write_comparison(tmp_path, none, {})
    assert body(path, "failures") == {model_title(name): ["no memory"] for name in SKILLS}
    assert "No model has a result." in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_figures_are_files_too(page: Path, odd: Path) -> None:
    """Each figure of the page as a PNG of print size and as a PDF with its fonts."""
    names = set(re.findall(r'<figure id="figure-([^"]*)"', page.read_text(encoding="utf-8")))
    assert names == {
        "scores-casme2", "differences", "differences-best", "cost", "curves-accuracy", "curves-loss",
        "confusion-casme2",
    }  # fmt: skip
    others = set(re.findall(r'<figure id="figure-([^"]*)"', odd.read_text(encoding="utf-8")))
    assert {"scores-composite", "scores-casme2", "scores-a-b-x-", "confusion-a-b-x-", "differences-best"} <= others
    for path, found in ((page, names), (odd, others)):
        for name in found:
            with Image.open(path.parent / "figures" / f"{name}.png") as picture:
                assert min(picture.size) > 200
                assert np.asarray(picture.convert("L")).std() > 5
            assert b"/Type3" not in (path.parent / "figures" / f"{name}.pdf").read_bytes()


def test_curves_of_all_models_can_be_told_apart(tmp_path: Path) -> None:
    """No two look alike; each is named where it ends, no name on another; the best is the widest."""
    skills = dict.fromkeys(model_names(), 0.3)
    files = write_curves(tmp_path, skills, runs=1)
    with style():
        figure = model_curves_figure({name: read_curves(own) for name, own in files.items()}, "accuracy", "c3d")
        figure.draw_without_rendering()
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "per cent of the model's own epochs"] * 2
    whole, enlarged = figure.axes[:2]
    looks = {(line.get_color(), line.get_linestyle()) for line in whole.lines}
    assert len(looks) == len(whole.lines) == len(model_names())
    assert [line.get_linewidth() > 2 for line in whole.lines] == [name == "c3d" for name in skills]
    assert {text.get_text() for text in enlarged.texts} == {model_title(name) for name in skills}
    boxes = [text.get_window_extent() for text in enlarged.texts]
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)
    assert max(box.x1 for box in boxes) < figure.bbox.x1


@pytest.mark.slow
def test_names_beside_points_cover_nothing(result: ComparisonResult) -> None:
    """All models as points close together: no name lies on another, nor outside the figure."""
    random = np.random.default_rng(1)
    some = result.models[0]
    assert some.cost is not None
    models = []
    for name in model_names():
        metrics = some.headline.metrics
        uf1 = metrics["uf1"].model_copy(update={"mean": float(random.uniform(0.3, 0.6))})
        group = some.headline.model_copy(update={"metrics": {**metrics, "uf1": uf1}})
        cost = some.cost.model_copy(update={"macs": int(10 ** random.uniform(9, 11))})
        models.append(some.model_copy(update={"name": name, "groups": {"casme2": group}, "cost": cost}))
    with style():
        figure = cost_figure(models)
        figure.draw_without_rendering()
    boxes = [text.get_tightbbox() for text in figure.axes[0].texts]
    assert len(boxes) == len(model_names())
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)
    assert all(figure.bbox.containsx(box.x1) and figure.bbox.containsy(box.y1) for box in boxes)


def test_labels_move_no_further_than_they_must() -> None:
    """Their order stays, a gap lies between them where there is room for it, and free ones stay where they are."""
    assert spread_out([0.9, 0.1], 0.1) == pytest.approx([0.9, 0.1])
    assert spread_out([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread_out([1.0, 0.99], 0.2) == pytest.approx([1.0, 0.8])
    assert spread_out([0.5] * 5, 0.4) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert spread_out([0.3], 0.2) == pytest.approx([0.3])


@pytest.mark.slow
def test_the_best_stands_first_and_is_bold_whoever_it_is(tmp_path: Path) -> None:
    """In tables and figures; those without a result come last."""
    skills = {"madv_net": 0.0, "c3d": None, "ststnet": 0.9, "stt": 0.4}
    made = make_comparison(skills, find_protocol("casme2-5"), [casme2()], seeds=(0,), replicates=200)
    assert [model.name for model in made.models] == ["ststnet", "stt", "madv_net", "c3d"]
    assert made.best() == made.best("casme2") == "ststnet"
    text = write_comparison(tmp_path, made, {}).read_text(encoding="utf-8")
    rows = re.findall(r'<tr class="strong"><th scope="row">([^<]*)</th>', text)
    assert rows[:2] == [model_title("ststnet")] * 2
    assert f"| **{model_title('ststnet')}** |" in (tmp_path / "tables" / "scores-casme2.md").read_text()


def test_each_model_against_the_best_with_interval_and_p() -> None:
    """All models of the registry: dots, lines and p are those of the tests, and no name lies on another."""
    skills = {name: 0.8 - 0.04 * place for place, name in enumerate(model_names())}
    made = make_comparison(skills, find_protocol("casme2-5"), [casme2()], seeds=(0,), replicates=200)
    best = made.best()
    assert best is not None
    with style():
        figure = against_figure(made, best, "uf1")
        figure.draw_without_rendering()
    axes = figure.axes[0]
    (right,) = axes.child_axes
    own = {p.second if p.first == best else p.first: p for p in made.pairs if best in (p.first, p.second)}
    others = [model.name for model in made.models[1:]]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    for row, (name, dot, p) in enumerate(zip(others, dots, right.get_yticklabels(), strict=True)):
        score = {model.name: model.headline.metrics["uf1"].mean for model in made.models}
        assert dot.get_xydata().tolist() == [[pytest.approx(score[best] - score[name]), row]]  # type: ignore[union-attr]
        difference = own[name].differences["uf1"]
        assert p.get_text() == f"p = {p_value(difference.p_corrected)}"
        assert (dot.get_fillstyle() == "full") == (difference.p_corrected < 0.05)
    for labels in (axes.get_yticklabels(), right.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) == len(model_names()) - 1
        assert all(box.count_overlaps(boxes) == 1 for box in boxes)


def test_numbers_are_written_for_people() -> None:
    """Three digits and a prefix; seconds, minutes or hours; a small p is never 0."""
    assert [quantity(n) for n in (85, 999, 1234, 33_166_000, 80_700_000_000)] == [
        "85", "999", "1.23 k", "33.2 M", "80.7 G"
    ]  # fmt: skip
    assert [duration(s) for s in (3.04, 48.2, 59.7, 725, 11_220)] == [
        "3.0 s", "48 s", "1 min 00 s", "12 min 05 s", "3 h 07 min"
    ]  # fmt: skip
    assert [p_value(p) for p in (1, 0.0344, 0.001, 0.0002)] == ["1.000", "0.034", "0.001", "2.0e-04"]
    assert list(METRIC_TITLES)[:2] == ["uf1", "uar"]


def test_a_browser_shows_it(page: Path, tmp_path: Path) -> None:
    """Figures with a size, a page no wider than the window, and no word on the console."""
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium here; it comes with the packages `chromium` or `google-chrome-stable`")
    found = measure(browser, page, tmp_path / "work", dark=True)
    assert found["title"] == "4 models on casme2-5/loso"
    assert len(found["console"]) == 1, found["console"]
    assert len(found["figures"]) == 7
    assert all(200 < width <= 1000 and height > 100 for width, height in found["figures"].values())
    assert found["width"][0] <= found["width"][1]
    assert found["ink"] == found["colours"][0]
