"""The tables of the report. Every number is one of ``result.json``, ``run.json`` or the paper; none is computed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.words import count
from training.evaluation.ablation import Ablation
from training.evaluation.metrics import METRIC_TITLES, METRICS, Scores
from training.evaluation.result import EvaluationResult, GroupResult, Spread
from training.fit.folder import FoldFolder, Run
from training.report.page import Table
from training.report.paper_numbers import PaperTable


def headline_table(name: str, group: GroupResult, seeds: Sequence[int], *, explained: bool = True) -> Table:
    """Every metric: mean and sd over seeds, interval over subjects, each floor."""
    note = ("sd over seeds; " if len(seeds) > 1 else "") + (
        "interval by resampling subjects; floors: what is reached without looking at a clip, and in "
        "brackets where 95% of single guesses lie."
    )
    level = next((f"{s.interval.level:.0%}" for s in group.metrics.values() if s.interval is not None), "95%")
    rows = []
    for metric in METRICS:
        spread = group.metrics[metric]
        floors = [floor.metrics[metric] for floor in group.floors]
        guesses = (f"{f.expected:.3f}" + ("" if f.low == f.high else f" ({f.low:.3f} to {f.high:.3f})") for f in floors)
        rows.append((METRIC_TITLES[metric], spread.mean_sd(), spread.low_high(), *guesses))
    return Table(
        f"{name}: {count(group.clips, 'clip')}, {count(group.subjects, 'subject')}, {count(len(seeds), 'seed')}",
        ("", "mean ± sd" if len(seeds) > 1 else "result", f"{level} interval", *(f.name for f in group.floors)),
        tuple(rows),
        note=note if explained else "",
    )


def classes_table(name: str, group: GroupResult) -> Table:
    """Scores of each class, all seeds pooled."""
    return Table(
        f"classes of {name}, all seeds pooled",
        ("class", "clips", "accuracy (recall)", "precision", "F1", "right", "wrongly so called", "missed"),
        tuple(
            (
                c.name,
                str(group.class_clips[c.name]),
                f"{c.accuracy:.3f}",
                f"{c.precision:.3f}",
                f"{c.f1:.3f}",
                str(c.true_positives),
                str(c.false_positives),
                str(c.false_negatives),
            )
            for c in group.pooled.classes
        ),
    )


def inputs_table(result: EvaluationResult) -> Table:
    """How the answers change when an input holds still, or is another clip's."""
    return Table(
        "what each input is worth to the trained models",
        ("input", "answers changed", "UF1", "UF1 of the same clips unaltered"),
        tuple((e.title, f"{e.changed:.1%}", *e.scores) for e in result.inputs),
        note="frozen: no motion in it, every frame is the onset; swapped: another test clip's. Mean over seeds.",
    )


def seeds_table(name: str, group: GroupResult) -> Table:
    """Scores of each seed."""
    return Table(
        f"single seeds of {name}",
        ("seed", *(METRIC_TITLES[metric] for metric in METRICS)),
        tuple(
            (str(seed), *(f"{getattr(scores, metric):.3f}" for metric in METRICS))
            for seed, scores in group.seeds.items()
        ),
        folded=True,
    )


def confusion_table(name: str, scores: Scores) -> Table:
    """Counts and row per cent, for who copies numbers."""
    names = tuple(c.name for c in scores.classes)
    rows = (
        (own, *(f"{count} ({percent:.1f}%)" for count, percent in zip(counts, percents, strict=True)))
        for own, counts, percents in zip(names, scores.confusion, scores.confusion_percent, strict=True)
    )
    return Table(f"{name} as numbers", ("true \\ predicted", *names), tuple(rows), folded=True)


def subjects_table(result: EvaluationResult) -> Table:
    """Clips of each class and share of right ones by seed, of every subject."""
    classes = result.protocol.task.classes
    return Table(
        "subjects as numbers",
        ("subject", *classes, *(f"accuracy, seed {seed}" for seed in result.seeds)),
        tuple(
            (
                s.subject,
                *(str(s.class_clips[c]) for c in classes),
                *(f"{s.accuracy[seed]:.3f}" for seed in result.seeds),
            )
            for s in result.subjects
        ),
        folded=True,
    )


def ablation_table(ablation: Ablation) -> Table:
    """UF1 and UAR of every variant and how far it is from the full model."""
    metrics = [metric for metric in METRICS if all(metric in variant.metrics for variant in ablation.variants)]
    rows = []
    for variant in ablation.variants:
        cells: list[str] = []
        for metric in metrics:
            change = None if variant.differences is None else variant.differences.get(metric)
            cells += (_with_interval(variant.metrics[metric]), "-" if change is None else change.mean_sd("+.3f"))
        rows.append((variant.name, variant.switched_off or "nothing", *cells))
    heads = (head for metric in metrics for head in (METRIC_TITLES[metric], "against full"))
    return Table(
        f"{ablation.model} under {ablation.protocol}, {count(len(ablation.seeds), 'seed')}",
        ("variant", "switched off", *heads),
        tuple(rows),
        strong=max(range(len(rows)), key=lambda row: ablation.variants[row].metrics["uf1"].mean),
        note="mean ± sd over seeds and 95% interval over subjects; differences are seed by seed.",
    )


def paper_table(table: PaperTable) -> Table:
    """A table of the paper, as printed."""
    return Table(
        f"The paper's Table {table.number}: {table.title}",
        ("method", *(f"{name} (%)" for name in table.classes), "average accuracy (%)", "macro-F1"),
        tuple(
            (row.method, *(f"{value:.2f}" for value in row.classes), f"{row.average:.2f}", f"{row.macro_f1:.2f}")
            for row in table.rows
        ),
        strong=max(range(len(table.rows)), key=lambda row: table.rows[row].macro_f1),
    )


def config_table(run: Run) -> Table:
    """The resolved config, every field."""
    return pairs_table("resolved config", tuple(_flat(run.config.model_dump(mode="json"))))


def stores_table(run: Run) -> Table:
    """Which stores; the hash says which, not the name."""
    rows = ((s.name, s.preprocess.dataset, str(s.clips), s.content_sha256, s.preprocess.sha256) for s in run.stores)
    return Table(
        "stores",
        ("store", "dataset", "clips", "sha256 of its content", "sha256 of its config"),
        tuple(rows),
        words=True,
    )


def folds_table(run: Run, folders: Sequence[FoldFolder]) -> Table:
    """Clips of each fold, and how it went with every seed."""
    seeds = run.config.seeds
    states = {(f.fold.name, f.seed): _state(f) for f in folders}
    rows = (
        (
            fold.name,
            str(len(fold.train)),
            "-" if fold.validation is None else str(len(fold.validation)),
            str(len(fold.test)),
            *(states[fold.name, seed] for seed in seeds),
        )
        for fold in run.folds
    )
    heads = ("fold", "training clips", "held back", "test clips", *(f"seed {seed}" for seed in seeds))
    return Table(f"{count(len(run.folds), 'fold')}", heads, tuple(rows), folded=True)


def packages_table(run: Run) -> Table:
    """Versions."""
    return pairs_table("package versions", tuple(sorted(run.packages.items())), folded=True)


def left_out_table(left_out: Mapping[str, int]) -> Table:
    """Clips of the stores that the task does not take."""
    return pairs_table("clips that the task leaves out", tuple((reason, str(n)) for reason, n in left_out.items()))


def pairs_table(title: str, pairs: tuple[tuple[str, str], ...], *, folded: bool = False) -> Table:
    """Names and values."""
    return Table(title, ("", ""), pairs, folded=folded, words=True)


def _with_interval(spread: Spread) -> str:
    return spread.mean_sd() + ("" if spread.interval is None else f" ({spread.low_high()})")


def _state(folder: FoldFolder) -> str:
    if folder.done:
        return "done"
    return "failed" if folder.failure.is_file() else "not finished"


def _flat(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Dotted field and value."""
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{above}{name}.")
        else:
            text = ", ".join(map(str, inner)) if isinstance(inner, list) else str(inner)
            yield f"{above}{name}", text if inner not in ({}, None) else "-"
