"""``report.html`` of a run folder: one page that stands alone, and its figures as PNG and PDF.

Every number is read from ``result.json``, ``run.json``, ``metrics.csv`` and ``ablation.json``; what is missing is said
to be missing.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure
from pydantic import ValidationError

from schemas.errors import ConfigError, RunFolderError, StoreError
from schemas.manifest import Manifest
from schemas.model import Model
from schemas.output import output_errors, write_text
from schemas.settings import problems
from schemas.store.reader import Store
from schemas.words import count
from training.evaluation.ablation import ABLATION_FILE, Ablation
from training.evaluation.calibration import Calibration
from training.evaluation.input_effects import INERT
from training.evaluation.predictions import read_predictions
from training.evaluation.result import COMPOSITE, EvaluationResult, GroupResult
from training.fit.folder import FoldFailure, Run, RunFolder
from training.report import figures, tables
from training.report.attention import attention_at_apex, attention_figure
from training.report.depth import Regions, depth_figure
from training.report.drawing import SYNTHETIC_CAPTION, save, style
from training.report.examples import choose_examples
from training.report.page import Part, Section, Text, render
from training.report.paper_numbers import CAVEATS, CITATION, paper_tables
from training.report.training_curves import read_curves
from training.report.wrong_clips import wrong_of_run, wrong_parts

M = TypeVar("M", bound=Model)
DepthSource = Callable[[Manifest], str]

_RULE = "Of each class the test clip whose own class got the median probability: neither the best nor the worst."


def write_report(
    run_folder: RunFolder,
    stores: Sequence[Store],
    *,
    regions: Regions | None = None,
    depth_source: DepthSource | None = None,
) -> Path:
    """Write ``report.html`` and ``figures/`` of a run, finished or not.

    Args:
        run_folder: as `mer train` leaves it.
        stores: that it was trained on.
        regions: where on a crop each action unit acts, for the depth figure.
        depth_source: what the depth of a store is, in words; its backend alone by default.

    Returns:
        The page.

    Raises:
        RunFolderError: this is no run folder, or a file in it is damaged.
        ConfigError: the stores are not those of the run.
    """
    report = _Report(run_folder, stores, regions, depth_source or _backend)
    with style(), output_errors(run_folder.path):
        sections = [Section(anchor, title, tuple(parts)) for anchor, title, parts in report.sections()]
    page = render(report.title, facts=report.facts(), caveats=report.caveats(), sections=sections)
    write_text(run_folder.report, page)
    return run_folder.report


class _Report:
    """What a run left, and the sections made of it."""

    def __init__(
        self, run_folder: RunFolder, stores: Sequence[Store], regions: Regions | None, depth_source: DepthSource
    ) -> None:
        self.folder, self.stores, self.regions = run_folder, stores, regions
        sources = dict.fromkeys(depth_source(s.manifest) for s in stores if "depth" in s.manifest.arrays)
        self.depth_source = "; ".join(sources)
        self.run = run_folder.read()
        _check_stores(self.run, stores)
        self.folds = list(run_folder.folds(self.run))
        self.result = _read(run_folder.result, EvaluationResult)
        self.ablation = _read(run_folder.path / ABLATION_FILE, Ablation)
        self.examples = choose_examples(self.run, self.folds, stores)

    @property
    def title(self) -> str:
        if self.run.protocol is None:
            return f"{self.run.config.model}, pre-trained"
        return f"{self.run.config.model} on {self.run.protocol.name}"

    @property
    def groups(self) -> dict[str, GroupResult]:
        return {} if self.result is None else self.result.groups

    def facts(self) -> list[tuple[str, str]]:
        """The lines under the title."""
        run, config, protocol = self.run, self.run.config, self.run.protocol
        found = []
        if protocol is not None:
            found += [
                ("task", f"{protocol.task.title}, version {protocol.task.version}"),
                ("protocol", f"{protocol.name}, {count(len(run.folds), 'fold')}, {protocol.sha256[:12]}"),
            ]
        found += [
            ("seeds", ", ".join(map(str, config.seeds))),
            ("model", f"{config.model}, {config.frames} frames of {config.size} px"),
            (
                "data",
                "; ".join(f"{s.name} ({s.clips} {'synthetic clips' if s.synthetic else 'clips'})" for s in run.stores),
            ),
        ]
        if self.result is not None:
            found.append(("clips", self.result.which_clips))
        return found

    def caveats(self) -> tuple[str, ...]:
        """What must be known before any number is read."""
        if self.result is not None:
            return self.result.caveats
        unfinished = [folder for folder in self.folds if not folder.done]
        if self.run.protocol is None and not unfinished:
            return ("Pre-training reads no labels and has no result; `mer train --pretrain` goes on from it.",)
        return (
            f"There is no result: {len(unfinished)} of {count(len(self.folds), 'fold')} are not done, and a result "
            "needs all of them. Type the same `mer train` command again to go on.",
        )

    def sections(self) -> Iterator[tuple[str, str, Iterator[Part]]]:
        """Anchor, title, parts."""
        if self.run.protocol is None:
            yield "training", "Training", self._training()
            yield "run", "What was run", self._what_was_run()
            return
        yield "result", "Result", self._headline()
        if len(self.groups) > 1:
            yield "datasets", "Each dataset", self._datasets()
        if self.result is not None and self.result.inputs:
            yield "inputs", "What the models read", self._inputs()
        if self.result is not None and self.result.calibration is not None:
            yield "calibration", "Calibration", self._calibration(self.result.calibration)
        yield "classes", "Classes", self._classes()
        yield "confusion", "Confusion", self._confusion()
        yield "wrong", "Wrong clips", self._wrong()
        yield "training", "Training", self._training()
        yield "subjects", "Subjects", self._subjects()
        yield "attention", "Where the model looked", self._attention()
        yield "depth", "Depth of action unit regions", self._depth()
        yield "ablation", "Ablation", self._ablation()
        yield "paper", "The paper's own numbers", self._paper()
        yield "run", "What was run", self._what_was_run()

    def _headline(self) -> Iterator[Part]:
        if self.result is None:
            yield Text("There is no result to show.", "missing")
            return
        name = next(iter(self.groups))
        group = self.result.headline
        yield tables.headline_table(name, group, self.result.seeds)
        caption = (
            "Result (mean over seeds, interval over subjects) against what is reached without looking at a clip. "
            "The wide bars hold 95% of single guesses."
        )
        yield self._picture("result", caption, figures.floors_figure(self.groups))
        yield tables.seeds_table(name, group)

    def _datasets(self) -> Iterator[Part]:
        assert self.result is not None
        for name, group in self.groups.items():
            if name != COMPOSITE:
                yield tables.headline_table(name, group, self.result.seeds, explained=False)

    def _inputs(self) -> Iterator[Part]:
        assert self.result is not None
        yield tables.inputs_table(self.result)
        shares = {effect.title: effect.changed for effect in self.result.inputs}
        if max(shares.values()) < INERT:
            yield Text("None of the inputs changes the answers: the models give the same class whatever they see.")
        else:
            most = max(shares, key=lambda title: shares[title])
            yield Text(f"What changes most answers, {shares[most]:.0%} of them, is {most}.")

    def _calibration(self, found: Calibration) -> Iterator[Part]:
        surer = "surer than it is right" if found.confidence > found.accuracy else "more often right than it is sure"
        caption = (
            "Left: of answers with such a probability, how many are right; on the dotted line probabilities mean what "
            "they say. Right: accuracy if only the surest answers are given. All test clips and seeds together; the "
            f"model is {surer}, by {found.expected_calibration_error:.3f} on average (expected calibration error)."
        )
        yield self._picture("calibration", caption, figures.calibration_figure(found))

    def _classes(self) -> Iterator[Part]:
        for name, group in self.groups.items():
            yield tables.classes_table(name, group)
        if not self.groups:
            yield Text("Without a result there are no scores of classes.", "missing")

    def _confusion(self) -> Iterator[Part]:
        for name, group in self.groups.items():
            caption = f"Confusion of {name}: counts of all seeds together, and per cent of the row."
            yield self._picture(f"confusion-{name}", caption, figures.confusion_figure(group.pooled))
            yield tables.confusion_table(f"confusion of {name}", group.pooled)
        if not self.groups:
            yield Text("Without a result there is no confusion matrix.", "missing")

    def _wrong(self) -> Iterator[Part]:
        if self.result is None or self.run.protocol is None:
            yield Text("Without a result there are no wrong clips.", "missing")
            return
        yield from wrong_parts(
            wrong_of_run(read_predictions(self.folder.predictions), self.run.protocol.task, self.stores),
            "The surest errors first, by the mean probability over seeds.",
        )

    def _training(self) -> Iterator[Part]:
        files = [folder.metrics for folder in self.folds if folder.metrics.is_file()]
        curves = read_curves(files)
        if not curves:
            yield Text("No fold has finished an epoch.", "missing")
            return
        held_back = (
            "The loss of held-back clips is the plain cross entropy, that of training clips the model's own sum of "
            "terms: compare how they run, not how high they are."
            if "validation_loss" in curves
            else "No clips were held back: the last epoch was taken."
        )
        ranges = f"mean and range over {len(files)} folds and seeds" if len(files) > 1 else "the only fold"
        caption = f"Loss and accuracy over epochs, {ranges}. Test clips are in none of these curves. {held_back}"
        yield self._picture("curves", caption, figures.curves_figure(curves, runs=len(files)))
        if sum(name.startswith("loss_") for name in curves) > 1:
            caption = "Terms of the training loss, weighted as they are summed, mean over folds and seeds."
            yield self._picture("loss-terms", caption, figures.terms_figure(curves))

    def _subjects(self) -> Iterator[Part]:
        if self.result is None:
            yield Text("Without a result there is nothing to say of subjects.", "missing")
            return
        caption = (
            "Share of right clips of each subject; where there are several seeds, a bar is their mean and a dot is "
            "one of them. Most subjects have few clips: a bar is no score."
        )
        accuracy = self.result.headline.metrics["accuracy"].mean
        yield self._picture("subjects", caption, figures.subjects_figure(self.result.subjects, accuracy))
        yield tables.subjects_table(self.result)

    def _attention(self) -> Iterator[Part]:
        if not self.examples:
            yield Text("No fold is done, so there is no model to ask.", "missing")
            return
        try:
            found = [(example, attention_at_apex(example)) for example in self.examples]
        except (StoreError, RunFolderError) as error:
            yield Text(f"Not shown: {error}", "missing")
            return
        if not found[0][1].weights:
            yield Text(f"{self.run.config.model} tells nothing of where it looks.", "missing")
            return
        blank = " Striped blocks were discarded." if any(attention.kept for _, attention in found) else ""
        if self.depth_source:
            blank += f" The pictures of depth: {self.depth_source}."
        caption = (
            "Attention at the apex, of the model that the clip was tested with: where it is more (orange) or less "
            f"(blue) than an even share of what was kept.{blank} {_RULE}"
        )
        yield self._picture("attention", caption, attention_figure(found))
        yield Text("Attention says what was weighed, not why a class was given.", "caution")

    def _depth(self) -> Iterator[Part]:
        examples = [e for e in self.examples if "depth" in e.store.manifest.arrays]
        if not examples:
            why = "no fold is done" if not self.examples else "the stores were made without depth"
            yield Text(f"Not shown: {why}.", "missing")
            return
        try:
            figure = depth_figure(examples, self.regions, self.depth_source)
        except StoreError as error:
            yield Text(f"Not shown: {error}", "missing")
            return
        curves = "" if self.regions is None else " Right: its mean in the five regions that change most by the apex."
        caption = (
            "Depth disparity of action unit regions (the paper's Fig. 19). Middle: change of depth from onset to apex "
            f"in shares of the clip's depth range, orange nearer; {self.depth_source}.{curves} {_RULE}"
        )
        if self.regions is None:
            yield Text("The regions of the action units were not given; the change is shown over the face.", "missing")
        yield self._picture("depth-disparity", caption, figure)

    def _ablation(self) -> Iterator[Part]:
        if self.ablation is None:
            yield Text("No ablation was run; `mer ablate` makes one.", "missing")
            return
        for caveat in self.ablation.caveats:
            yield Text(caveat, "caution")
        yield tables.ablation_table(self.ablation)

    def _paper(self) -> Iterator[Part]:
        yield Text(f"{CITATION}. As printed there, for reference.")
        for caveat in CAVEATS:
            yield Text(caveat, "caution")
        assert self.run.protocol is not None
        mine = [table for table in paper_tables() if table.dataset in self.run.protocol.task.dataset_names]
        for table in mine:
            yield tables.paper_table(table)
        if not mine:
            yield Text("The paper has no table of these datasets.", "missing")

    def _what_was_run(self) -> Iterator[Part]:
        run = self.run
        revision = run.git or "unknown"
        yield Text(f"Git revision {revision}; trained on {run.device}.")
        yield tables.stores_table(run)
        if self.result is not None and self.result.left_out:
            yield tables.left_out_table(self.result.left_out)
        if self.result is not None and self.result.failed:
            yield Text(f"Failed in preprocessing: {', '.join(self.result.failed)}", "caution")
        for folder in self.folds:
            if (failure := _read(folder.failure, FoldFailure)) is not None:
                yield Text(f"{folder.name} failed: {failure.error}: {failure.message}", "caution")
        yield tables.folds_table(run, self.folds)
        yield tables.config_table(run)
        yield tables.packages_table(run)

    def _picture(self, name: str, caption: str, figure: Figure) -> Part:
        if any(store.synthetic for store in self.run.stores):
            caption += SYNTHETIC_CAPTION
        return save(figure, self.folder.figures, re.sub(r"[^A-Za-z0-9._-]+", "-", name), caption)


def _backend(manifest: Manifest) -> str:
    return "no depth" if manifest.depth is None else f"depth by {manifest.depth.tool}"


def _check_stores(run: Run, stores: Sequence[Store]) -> None:
    expected = {store.content_sha256: store.name for store in run.stores}
    found = {store.manifest.content_sha256: str(store.path) for store in stores}
    if missing := [name for sha256, name in expected.items() if sha256 not in found]:
        raise ConfigError(
            f"the run was trained on {', '.join(expected.values())}; found {', '.join(found.values()) or 'no store'}, "
            f"none of which is the {missing[0]} of then (its content has another hash); name the stores of the run"
        )


def _read(file: Path, model: type[M]) -> M | None:
    """A JSON file of the run, if it is there."""
    try:
        return model.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RunFolderError(f"{file}: damaged or of another version: {problems(error)}") from error
