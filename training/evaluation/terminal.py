"""An evaluation, a comparison and an ablation as tables for the terminal."""

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from schemas.words import count
from training.evaluation.ablation import Ablation
from training.evaluation.calibration import Calibration
from training.evaluation.comparison import ComparisonResult
from training.evaluation.metrics import METRIC_TITLES, METRICS
from training.evaluation.result import EvaluationResult, GroupResult

_LOWEST = 5


def evaluation_report(result: EvaluationResult) -> RenderableType:
    """Caveats, headline against floors, classes, confusion matrix, hardest subjects."""
    parts: list[RenderableType] = [_facts(result)]
    parts += [f"[bold yellow]note[/] {escape(caveat)}" for caveat in result.caveats]
    parts += [_scores(name, group) for name, group in result.groups.items()]
    parts += [_classes(result.headline), _confusion(result.headline), _subjects(result)]
    if result.calibration is not None:
        parts.append(_calibration(result.calibration))
    if result.inputs:
        parts.append(_inputs(result))
    return Group(*parts)


def _facts(result: EvaluationResult) -> Table:
    facts = Table(show_header=False, box=None)
    task = result.protocol.task
    facts.add_row("[bold]protocol", f"{result.protocol.name}, version {task.version}, {result.protocol_sha256[:12]}")
    facts.add_row("[bold]task", task.title)
    facts.add_row("[bold]folds", f"{result.test_folds}, {result.folds} folds; counts pooled over them")
    facts.add_row("[bold]seeds", ", ".join(map(str, result.seeds)))
    facts.add_row("[bold]clips", result.which_clips)
    if result.left_out:
        facts.add_row("[bold]left out", ", ".join(f"{reason} {count}" for reason, count in result.left_out.items()))
    return facts


def _scores(name: str, group: GroupResult) -> Table:
    title = f"{name}: {count(group.clips, 'clip')}, {count(group.subjects, 'subject')}"
    table = Table("", "result", "95 % over subjects", *(floor.name for floor in group.floors), title=title)
    for metric in METRICS:
        floors = []
        for floor in group.floors:
            guess = floor.metrics[metric]
            spread = "" if guess.low == guess.high else f" ({guess.low:.3f} to {guess.high:.3f})"
            floors.append(f"{guess.expected:.3f}{spread}")
        found = group.metrics[metric]
        table.add_row(METRIC_TITLES[metric], found.mean_sd(), found.low_high(), *floors)
    return table


def _classes(group: GroupResult) -> Table:
    table = Table("class", "clips", "accuracy", "precision", "F1", title="classes, all seeds pooled")
    for scores in group.pooled.classes:
        table.add_row(
            scores.name,
            str(group.class_clips[scores.name]),
            f"{scores.accuracy:.3f}",
            f"{scores.precision:.3f}",
            f"{scores.f1:.3f}",
        )
    return table


def _confusion(group: GroupResult) -> Table:
    pooled = group.pooled
    names = [scores.name for scores in pooled.classes]
    table = Table("true \\ predicted", *names, title="confusion, counts of all seeds and row %")
    for name, counts, percents in zip(names, pooled.confusion, pooled.confusion_percent, strict=True):
        cells = (f"{count} ({percent:.1f})" for count, percent in zip(counts, percents, strict=True))
        table.add_row(name, *cells)
    return table


def _subjects(result: EvaluationResult) -> Table:
    mean = {s.subject: float(np.mean(list(s.accuracy.values()))) for s in result.subjects}
    ordered = sorted(result.subjects, key=lambda s: (mean[s.subject], -sum(s.class_clips.values())))
    table = Table("subject", "clips", "accuracy", title=f"hardest of {count(len(ordered), 'subject')}")
    for subject in ordered[:_LOWEST]:
        table.add_row(subject.subject, str(sum(subject.class_clips.values())), f"{mean[subject.subject]:.3f}")
    return table


def _calibration(found: Calibration) -> Table:
    title = f"the surest answers alone; expected calibration error {found.expected_calibration_error:.3f}"
    table = Table("share answered", "accuracy", title=title)
    for part in found.selective:
        table.add_row(f"{part.coverage:.0%}", f"{part.accuracy:.3f}")
    return table


def _inputs(result: EvaluationResult) -> Table:
    table = Table("input", "answers changed", "UF1", "unaltered", title="what each input is worth")
    for effect in result.inputs:
        table.add_row(effect.title, f"{effect.changed:.1%}", *effect.scores)
    return table


def comparison_report(result: ComparisonResult) -> RenderableType:
    """Caveats, and a line a model, the best in bold."""
    table = Table("model", "UF1", "95 % of UF1", "UAR", "parameters", "trained")
    for model in result.models:
        if model.cost is None:
            table.add_row(model.name, "no result")
            continue
        metrics, cost = model.headline.metrics, model.cost
        table.add_row(
            model.name,
            metrics["uf1"].mean_sd(),
            metrics["uf1"].low_high(),
            metrics["uar"].mean_sd(),
            f"{cost.parameters / 1e6:.2f} M",
            f"{cost.training_seconds:.0f} s",
            style="bold" if model.name == result.best() else None,
        )
    for floor in next(model for model in result.models if model.groups).headline.floors:
        scores = floor.metrics
        table.add_row(floor.name, f"{scores['uf1'].expected:.3f}", "", f"{scores['uar'].expected:.3f}", style="dim")
    reasons = [f"[bold red]no result[/] {m.name}: {escape(m.failure)}" for m in result.models if m.failure is not None]
    return Group(*(f"[bold yellow]note[/] {escape(caveat)}" for caveat in result.caveats), table, *reasons)


def ablation_report(ablation: Ablation) -> RenderableType:
    """A line a variant."""
    table = Table("variant", "UF1", "against full", "UAR", title="ablation")
    for row in ablation.variants:
        difference = "" if row.differences is None else f"{row.differences['uf1'].mean:+.3f}"
        table.add_row(row.name, f"{row.metrics['uf1'].mean:.3f}", difference, f"{row.metrics['uar'].mean:.3f}")
    return table
