"""``comparison.html``: one page that stands alone, its figures as PNG and PDF, its tables as CSV, LaTeX and Markdown.

Every number is one of ``result.json``, of the models' ``metrics.csv`` or of the paper; what is missing is said to be
missing, and a model that failed stands in every table with its reason.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from schemas.output import output_errors, write_text
from schemas.store.reader import Store
from schemas.words import count
from training.evaluation.comparison import ComparisonResult
from training.evaluation.metrics import METRIC_TITLES
from training.evaluation.predictions import read_predictions
from training.fit.folder import RunFolder
from training.report import comparison_figures as figures
from training.report import comparison_tables as tables
from training.report.comparison_curves import ENLARGED, TrainingCurves, model_curves_figure
from training.report.drawing import SYNTHETIC_CAPTION, save, style
from training.report.page import Part, Section, Table, Text, render
from training.report.paper_numbers import CAVEATS, CITATION, PaperTable, paper_tables
from training.report.table_files import write_table
from training.report.tables import paper_table
from training.report.training_curves import read_curves
from training.report.wrong_clips import wrong_of_models, wrong_parts

COMPARISON_FILE = "comparison.html"


def write_comparison(
    folder: Path,
    result: ComparisonResult,
    curves: Mapping[str, Sequence[Path]] | None = None,
    stores: Sequence[Store] = (),
) -> Path:
    """Write ``comparison.html``, ``figures/`` and ``tables/``.

    Args:
        folder: to write into.
        result: of the comparison.
        curves: model -> the ``metrics.csv`` of all its folds and seeds that have one; by default those of the run
            folders below ``folder``, of the models that have a result.
        stores: that the models were trained on, to show wrong clips; none are shown without.

    Returns:
        The page.
    """
    if curves is None:
        runs = {model.name: RunFolder(folder / model.name) for model in result.models if model.groups}
        curves = {name: [fold.metrics for fold in run.folds(run.read())] for name, run in runs.items()}
    page = _Comparison(folder, result, {name: read_curves(files) for name, files in curves.items()}, stores)
    with style(), output_errors(folder):
        sections = [Section(anchor, title, tuple(parts)) for anchor, title, parts in page.sections()]
    path = folder / COMPARISON_FILE
    write_text(path, render(page.title, facts=page.facts(), caveats=result.caveats, sections=sections))
    return path


class _Comparison:
    """A result and the sections made of it."""

    def __init__(self, folder: Path, result: ComparisonResult, curves: TrainingCurves, stores: Sequence[Store]) -> None:
        self.folder, self.result, self.stores = folder, result, stores
        self.curves = {model.name: own for model in result.models if (own := curves.get(model.name))}
        self.done = [model for model in result.models if model.groups]
        self.groups = tuple(self.done[0].groups) if self.done else ()
        self.best = result.best()

    @property
    def title(self) -> str:
        return f"{count(len(self.result.models), 'model')} on {self.result.protocol.name}"

    @property
    def failed(self) -> str:
        """A sentence for captions of figures that cannot show them."""
        names = [tables.model_title(model.name) for model in self.result.models if not model.groups]
        return f" Without a result: {', '.join(names)}." if names else ""

    def facts(self) -> list[tuple[str, str]]:
        """The lines under the title."""
        result = self.result
        return [
            ("task", f"{result.protocol.task.title}, version {result.protocol.task.version}"),
            ("protocol", f"{result.protocol.name}, {count(result.folds, 'fold')}, {result.protocol_sha256[:12]}"),
            ("seeds", ", ".join(map(str, result.seeds))),
            ("recipe", result.recipe),
            ("budget", result.budget or "none: as long as the recipe says"),
            (
                "data",
                "; ".join(
                    f"{', '.join(s.datasets)} ({s.clips} {'synthetic ' * s.synthetic}clips)" for s in result.stores
                ),
            ),
            ("machine", f"{result.machine}; {result.device}"),
        ]

    def sections(self) -> Iterator[tuple[str, str, Iterator[Part]]]:
        """Anchor, title, parts."""
        if self.groups:
            yield "scores", "Result", self._scores()
            if len(self.groups) > 1:
                yield "datasets", "Each dataset", self._datasets()
            yield "classes", "In the manner of the paper's tables", self._classes()
            yield "differences", "Differences between models", self._differences()
            yield "cost", "Cost", self._cost()
        else:
            yield "scores", "Result", self._failures()
        yield "curves", "Training", self._curves()
        if self.groups:
            yield "confusion", "Confusion", self._confusion()
            if self.stores:
                yield "wrong", "Clips that most models got wrong", self._wrong()
        yield "paper", "The paper's own numbers", self._paper()
        yield "run", "What was run", self._what_was_run()

    def _scores(self) -> Iterator[Part]:
        yield from self._scores_of(self.groups[0])

    def _datasets(self) -> Iterator[Part]:
        for group in self.groups[1:]:
            yield from self._scores_of(group)

    def _scores_of(self, group: str) -> Iterator[Part]:
        yield self._table(f"scores-{group}", tables.scores_table(self.result, group))
        caption = (
            f"UF1 and UAR on {group}: mean over seeds with its interval over subjects, against what is reached without "
            "looking at a clip. A model whose interval reaches into the band may be guessing."
        )
        yield self._picture(f"scores-{group}", caption, figures.scores_figure(self.result, group))

    def _failures(self) -> Iterator[Part]:
        yield Text("No model has a result.", "missing")
        rows = tuple((tables.model_title(model.name), model.failure or "-") for model in self.result.models)
        yield self._table("failures", Table("why", ("model", "reason"), rows, words=True))

    def _classes(self) -> Iterator[Part]:
        papers = {group: self._paper_of(group) for group in self.groups}
        if any(papers.values()):
            yield Text(f"What the paper printed stands apart, in grey. {CAVEATS[0]}", "caution")
        for group, paper in papers.items():
            classes = len(self.result.protocol.task.classes)
            if paper is not None and len(paper.classes) != classes:
                yield Text(
                    f"The paper's Table {paper.number} tells {len(paper.classes)} classes apart, this comparison "
                    f"{classes}: not even the task is the same.",
                    "caution",
                )
            yield self._table(f"classes-{group}", tables.classes_table(self.result, group, paper))

    def _paper_of(self, group: str) -> PaperTable | None:
        return next((table for table in paper_tables() if table.dataset == group), None)

    def _differences(self) -> Iterator[Part]:
        result = self.result
        if not result.pairs:
            yield Text("Two models with a result are needed to compare.", "missing")
            return
        yield Text(self._how_many_differ())
        subjects = self.done[0].headline.subjects
        least = len(result.pairs) * 2.0 ** (1 - subjects)  # all swapped or none: as far as a difference can lie
        if least > figures.SIGNIFICANT:
            yield Text(
                f"With {count(subjects, 'subject')} and {count(len(result.pairs), 'pair')} no p by subject can be less "
                f"than {min(least, 1):.2g} after the correction, however large the difference: compare fewer models, "
                "or on more people.",
                "caution",
            )
        yield Text(
            "McNemar's test takes clips for independent, which those of one person are not: its p are too small, and "
            "intervals by resampling few subjects are a little too narrow. Where they disagree with the test by "
            "subject, believe the test by subject.",
            "caution",
        )
        best = self.done[0].name
        caption = (
            f"UF1 of the best model, {tables.model_title(best)}, minus that of each other, mean over seeds, with its "
            "interval over subjects. A full dot is told apart from the best: p < "
            f"{figures.SIGNIFICANT:g} by swapping the two models' answers on subjects, after Holm's correction for "
            f"{count(len(result.pairs), 'pair')}. Which model is best was seen on these same clips, which flatters it "
            f"a little.{self.failed}"
        )
        yield self._picture("differences-best", caption, figures.against_figure(result, best, "uf1"))
        yield self._table("differences-best", tables.against_table(result, best))
        caption = (
            "UF1 of the row's model minus that of the column's, mean over seeds. Framed: significant by swapping the "
            f"two models' answers on subjects, after Holm's correction for {count(len(result.pairs), 'pair')}."
            f"{self.failed}"
        )
        yield self._picture("differences", caption, figures.differences_figure(result, "uf1"))
        yield self._table("differences", tables.pairs_of_models_table(result))

    def _how_many_differ(self) -> str:
        pairs = self.result.pairs
        parts = []
        for metric in pairs[0].differences:
            tested = [pair.differences[metric] for pair in pairs]
            sure = sum(difference.p_corrected < figures.SIGNIFICANT for difference in tested)
            alone = sum(difference.p < figures.SIGNIFICANT for difference in tested)
            parts.append(f"{sure} in {METRIC_TITLES[metric]} ({alone} without the correction)")
        return (
            f"Pairs that differ, of {len(pairs)}, at p < {figures.SIGNIFICANT:g} after Holm's correction for their "
            f"number: {', '.join(parts)}. That no difference was found does not show that there is none."
        )

    def _cost(self) -> Iterator[Part]:
        yield self._table("cost", tables.cost_table(self.result))
        if any(model.cost is not None for model in self.done):
            caption = f"UF1 (mean over seeds) against the arithmetic of one clip.{self.failed}"
            yield self._picture("cost", caption, figures.cost_figure(self.done))

    def _curves(self) -> Iterator[Part]:
        if not self.curves:
            yield Text("No fold has finished an epoch.", "missing")
            return
        held_back = any("validation_loss" in own for own in self.curves.values())
        clips = "training clips, and of held-back clips where there are any" if held_back else "training clips"
        yield Text(f"These are curves of {clips}. Test clips are in none of them: they say nothing of the result.")
        unfinished = [tables.model_title(m.name) for m in self.result.models if m.name in self.curves and not m.groups]
        if unfinished:
            yield Text(f"Not all folds, or not to the end: {', '.join(unfinished)}.", "caution")
        for what, remark in (
            ("accuracy", ""),
            (
                "loss",
                " Every model has its own loss, some of several terms: compare how they run, not how high they are."
                + (" That of held-back clips is the plain cross entropy." if held_back else ""),
            ),
        ):
            if any(name.removeprefix("validation_") == what for own in self.curves.values() for name in own):
                caption = (
                    f"{what.capitalize()} over epochs, mean over folds and seeds, and the last "
                    f"{round(100 * ENLARGED)}% enlarged.{remark}"
                )
                yield self._picture(f"curves-{what}", caption, model_curves_figure(self.curves, what, self.best))

    def _confusion(self) -> Iterator[Part]:
        for group in self.groups:
            caption = f"Confusion on {group}: per cent of the row, all seeds together.{self.failed}"
            scores = {model.name: model.groups[group].pooled for model in self.done}
            figure = figures.confusions_figure(scores, self.result.best(group))
            yield self._picture(f"confusion-{group}", caption, figure)
            yield self._table(f"confusion-{group}", tables.confusions_table(self.result, group))

    def _wrong(self) -> Iterator[Part]:
        found = {model.name: read_predictions(RunFolder(self.folder / model.name).predictions) for model in self.done}
        yield from wrong_parts(
            wrong_of_models(found, self.result.protocol.task, self.stores),
            "Those that the most models got wrong first, each model by its mean probability over seeds.",
        )

    def _paper(self) -> Iterator[Part]:
        for caveat in CAVEATS:
            yield Text(caveat, "caution")
        mine = [table for table in paper_tables() if table.dataset in self.result.protocol.task.dataset_names]
        for table in mine:
            yield self._table(f"paper-{table.number}", replace(paper_table(table), note=f"As printed in {CITATION}."))
        if not mine:
            yield Text("The paper has no table of these datasets.", "missing")

    def _what_was_run(self) -> Iterator[Part]:
        yield self._table("models", tables.models_table(self.result))
        yield self._table("conditions", tables.conditions_table(self.result))
        yield self._table("stores", tables.compared_stores_table(self.result))
        yield Text(
            "Every figure lies beside this page in figures/ as PNG and PDF, every table in tables/ as CSV, LaTeX and "
            "Markdown; result.json has every number in full."
        )

    def _picture(self, name: str, caption: str, figure: Figure) -> Part:
        if any(store.synthetic for store in self.result.stores):
            caption += SYNTHETIC_CAPTION
        return save(figure, self.folder / "figures", _file_name(name), caption)

    def _table(self, name: str, table: Table) -> Table:
        write_table(self.folder / "tables", _file_name(name), table)
        return table


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
