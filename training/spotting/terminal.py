"""A spotting result as tables for the terminal."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from training.spotting.evaluate import SpottingResult


def spotting_report(result: SpottingResult) -> RenderableType:
    """Caveats, F1 beside the floors, and what the right and the false intervals are like."""
    facts = Table(show_header=False, box=None)
    truth = ", ".join(f"{count} {kind}" for kind, count in result.expressions.items() if kind != "both")
    facts.add_row(
        "[bold]recordings", f"{result.recordings} of {result.subjects} subjects, {result.minutes:.1f} minutes"
    )
    facts.add_row("[bold]expressions", truth)
    facts.add_row("[bold]seeds", ", ".join(map(str, result.seeds)))
    facts.add_row("[bold]false alarms", f"{result.false_alarms_per_minute:.2f} a minute without an expression")
    if (edges := result.boundaries) is not None:
        facts.add_row(
            "[bold]boundaries",
            f"onset off by {edges.onset_ms:.0f} ms (bias {edges.onset_bias_ms:+.0f}), "
            f"offset by {edges.offset_ms:.0f} ms (bias {edges.offset_bias_ms:+.0f})",
        )
    if result.average_precision is not None:
        facts.add_row("[bold]average precision", f"{result.average_precision:.3f}")
    if result.analysis is not None:
        classes = ", ".join(f"{name} {f1:.3f}" for name, f1 in result.analysis.classes.items())
        facts.add_row(
            "[bold]analysis", f"F1 {result.analysis.f1:.3f} on {result.analysis.intervals} right intervals ({classes})"
        )
        facts.add_row("[bold]STRS", f"{result.strs:.4f}")
    notes = [f"[bold yellow]note[/] {escape(caveat)}" for caveat in result.caveats]
    return Group(facts, *notes, _scores(result), _floors(result))


def _scores(result: SpottingResult) -> Table:
    title = "spotted at an overlap (IoU) of 0.5"
    table = Table("", "right", "false", "missed", "precision", "recall", "F1", "95 % over subjects", title=title)
    for score in result.scores:
        between = "" if score.interval is None else f"{score.interval.low:.3f} to {score.interval.high:.3f}"
        numbers = (score.true_positives, score.false_positives, score.false_negatives)
        shares = (f"{share:.3f}" for share in (score.precision, score.recall, score.f1))
        table.add_row(score.kind, *map(str, numbers), *shares, between)
    return table


def _floors(result: SpottingResult) -> Table:
    kinds = [score.kind for score in result.scores]
    table = Table("F1 without looking", *kinds)
    for floor in result.floors:
        ranges = ((floor.f1[kind], floor.low[kind], floor.high[kind]) for kind in kinds)
        cells = (f"{mean:.3f}" + ("" if low == high else f" ({low:.3f} to {high:.3f})") for mean, low, high in ranges)
        table.add_row(floor.name, *cells)
    return table
