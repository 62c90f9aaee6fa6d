"""The tables of a comparison. Every number is one of ``result.json`` or the paper, in another unit at most."""

from collections.abc import Callable, Iterable, Sequence

from schemas.words import count
from training.evaluation.bootstrap import Interval
from training.evaluation.comparison import ComparedModel, ComparisonResult, Difference, Pair
from training.evaluation.metrics import METRIC_TITLES
from training.models.registry import model_facts, model_names
from training.report.page import Table
from training.report.paper_numbers import PaperTable
from training.report.tables import pairs_table

_BOLD = "Bold: the highest UF1 in this comparison, which need not be told apart from the next."
_SCORES = ("uf1", "uar", "accuracy")
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))


def model_title(name: str) -> str:
    """The title of a model of the registry; one that is not installed keeps its name."""
    return model_facts(name).label if name in model_names() else name


def scores_table(result: ComparisonResult, group: str) -> Table:
    """UF1, UAR, accuracy of every model and of both floors."""
    of = next(model.groups[group] for model in result.models if group in model.groups)
    intervals = (s.interval for m in result.models if group in m.groups for s in m.groups[group].metrics.values())
    level = next((f"{found.level:.0%}" for found in intervals if found is not None), "95%")

    def row(model: ComparedModel) -> tuple[str, ...]:
        spreads = [model.groups[group].metrics[metric] for metric in _SCORES]
        return tuple(cell for spread in spreads for cell in (spread.mean_sd(), spread.low_high()))

    guesses = [[floor.metrics[metric] for metric in _SCORES] for floor in of.floors]
    floors = [
        (
            floor.name,
            *(
                cell
                for g in own
                for cell in (f"{g.expected:.3f}", "-" if g.low == g.high else f"{g.low:.3f} to {g.high:.3f}")
            ),
        )
        for floor, own in zip(of.floors, guesses, strict=True)
    ]
    seeds = "Mean ± sd over seeds" if len(result.seeds) > 1 else "One seed, so no spread over seeds"
    return Table(
        f"{group}: {count(of.clips, 'clip')}, {count(of.subjects, 'subject')}, {count(len(result.seeds), 'seed')}",
        ("model", *(head for metric in _SCORES for head in (METRIC_TITLES[metric], f"{level} interval"))),
        (*_rows(result, row), *floors),
        strong=_position(result, group),
        floors=len(floors),
        note=f"{seeds}; interval by resampling subjects. The last two rows are what is reached without looking at a "
        f"clip; theirs is the interval of 95% of single guesses. {_BOLD}",
    )


def classes_table(result: ComparisonResult, group: str, paper: PaperTable | None) -> Table:
    """Accuracy of each class, average and macro-F1 in the paper's manner; what the paper printed stands apart."""
    of = next(model.groups[group] for model in result.models if group in model.groups)
    heads = () if paper is None else ("paper: average accuracy (%)", "paper: macro-F1")

    def row(model: ComparedModel) -> tuple[str, ...]:
        own = model.groups[group]
        return (
            *(f"{100 * scores.accuracy:.2f}" for scores in own.pooled.classes),
            f"{100 * own.metrics['uar'].mean:.2f}",
            f"{own.metrics['macro_f1_eq30'].mean:.2f}",
        )

    def published(model: ComparedModel) -> tuple[str, ...]:
        if paper is None:
            return ()
        found = paper.row_of(model.name)
        return ("-", "-") if found is None else (f"{found.average:.2f}", f"{found.macro_f1:.2f}")

    return Table(
        f"{group} in the manner of the paper's tables",
        ("model", *(f"{name} (%)" for name in of.class_clips), "average accuracy (%)", "macro-F1 (Eq. 30)", *heads),
        _rows(result, lambda model: (*row(model), *published(model))),
        strong=_position(result, group),
        apart=len(heads),
        note="Accuracy of a class is the share of its clips that were called it (recall), all seeds together; the "
        f"average is the unweighted mean over classes, that is, UAR. {_BOLD}"
        + ("" if paper is None else " What the paper printed is not comparable: its split and its clips are unknown."),
    )


def against_table(result: ComparisonResult, name: str) -> Table:
    """Every pair of one model, seen from it."""
    rows = []
    for pair in result.pairs:
        if name not in (pair.first, pair.second):
            continue
        sign, other = (1, pair.second) if pair.first == name else (-1, pair.first)
        only = (pair.mcnemar.first_only, pair.mcnemar.second_only)[::sign]
        rows.append(
            (
                model_title(other),
                *(c for d in pair.differences.values() for c in (*_difference(d, sign), p_value(d.p_corrected))),
                *map(str, only),
                p_value(pair.mcnemar.p_corrected),
            )
        )
    metrics = [METRIC_TITLES[metric] for metric in result.pairs[0].differences]
    return Table(
        f"{model_title(name)} against each",
        (
            "against",
            *(head for title in metrics for head in (f"{title}, difference", "interval", "p (Holm)")),
            "it alone right",
            "the other alone right",
            "McNemar p (Holm)",
        ),
        tuple(rows),
        note=f"Positive: {model_title(name)} is better. p are corrected for all pairs of the comparison, not only for "
        "those of this table.",
    )


def pairs_of_models_table(result: ComparisonResult) -> Table:
    """Every pair with all its tests."""
    metrics = [METRIC_TITLES[metric] for metric in result.pairs[0].differences]

    def row(pair: Pair) -> tuple[str, ...]:
        tested = (
            cell
            for difference in pair.differences.values()
            for cell in (*_difference(difference, 1), p_value(difference.p), p_value(difference.p_corrected))
        )
        mcnemar = pair.mcnemar
        return (
            model_title(pair.first),
            model_title(pair.second),
            *tested,
            str(mcnemar.first_only),
            str(mcnemar.second_only),
            p_value(mcnemar.p),
            p_value(mcnemar.p_corrected),
        )

    return Table(
        f"every pair, {len(result.pairs)} in all",
        (
            "first",
            "second",
            *(head for title in metrics for head in (f"{title}, difference", "interval", "p", "p (Holm)")),
            "first alone right",
            "second alone right",
            "McNemar p",
            "McNemar p (Holm)",
        ),
        tuple(map(row, result.pairs)),
        folded=True,
        note="Differences are first minus second.",
    )


def cost_table(result: ComparisonResult) -> Table:
    """What each model takes."""

    def row(model: ComparedModel) -> tuple[str, ...]:
        cost = model.cost
        if cost is None:
            return ("-",) * 6
        return (
            quantity(cost.parameters),
            quantity(cost.macs),
            f"{1000 * cost.latency:.1f}",
            duration(cost.training_seconds),
            _range(cost.updates),
            _range(cost.pretraining_updates),
        )

    return Table(
        "what each model takes",
        (
            "model",
            "parameters",
            "MACs a clip",
            "latency (ms)",
            "training time",
            "updates a fold",
            "before, in pre-training",
        ),
        _rows(result, row),
        note=f"{result.machine}; trained and timed on {result.device}. MACs: multiply-accumulates. Latency: median of "
        "one clip, float32. Training time: all folds and seeds added up.",
    )


def confusions_table(result: ComparisonResult, group: str) -> Table:
    """The confusion matrix of every model, counts of all seeds and row per cent."""
    rows: list[tuple[str, ...]] = []
    classes: tuple[str, ...] = ()
    for model in result.models:
        if group not in model.groups:
            rows.append((model_title(model.name), f"no result: {model.failure}"))
            continue
        pooled = model.groups[group].pooled
        classes = tuple(scores.name for scores in pooled.classes)
        for name, counts, percents in zip(classes, pooled.confusion, pooled.confusion_percent, strict=True):
            cells = (f"{number} ({percent:.1f}%)" for number, percent in zip(counts, percents, strict=True))
            rows.append((model_title(model.name), name, *cells))
    heads = ("model", "true \\ predicted", *classes)
    return Table(f"confusion of {group} as numbers", heads, tuple(rows), folded=True)


def models_table(result: ComparisonResult) -> Table:
    """How each model was trained."""

    def row(model: ComparedModel) -> tuple[str, ...]:
        numbers = (model.epochs, model.batch_size, model.lr, model.frames, model.size)
        return (
            model.name,
            ", ".join(model.inputs) or "-",
            *("-" if number is None else f"{number:g}" for number in numbers),
            model.weights or ("random" if model.groups else "-"),
        )

    heads = ("model", "name", "reads", "epochs", "batch", "learning rate", "frames", "size (px)", "weights at first")
    rows = tuple((model_title(model.name), *row(model)) for model in result.models)
    return Table("how each model was trained", heads, rows, words=True)


def compared_stores_table(result: ComparisonResult) -> Table:
    """Which stores; the hash says which, not the name."""
    rows = tuple((", ".join(s.datasets), str(s.clips), str(s.failed), s.content_sha256) for s in result.stores)
    return Table("stores", ("datasets", "clips", "failed clips", "sha256 of its content"), rows, words=True)


def conditions_table(result: ComparisonResult) -> Table:
    """What was the same for all models."""
    return pairs_table(
        "the same for all models",
        (
            ("task", f"{result.protocol.task.title}, version {result.protocol.task.version}"),
            ("protocol", f"{result.protocol.name}, {count(result.folds, 'fold')}"),
            ("sha256 of the protocol", result.protocol_sha256),
            ("sha256 of the labels", result.labels_sha256),
            ("seeds", ", ".join(map(str, result.seeds))),
            ("recipe", result.recipe),
            ("budget", result.budget or "none: as long as the recipe says"),
            ("device", result.device),
            ("machine", result.machine),
        ),
    )


def p_value(p: float) -> str:
    """``0.034``; ``2.0e-04`` where three decimals would be 0."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def quantity(number: float, *, digits: int = 3) -> str:
    """``33.2 M``: so many digits and a prefix; below 1000 a whole number."""
    scale, prefix = next((pair for pair in _PREFIXES if number >= pair[0]), _PREFIXES[-1])
    before = len(str(int(number / scale)))
    return f"{number / scale:.{max(0, digits - before) if prefix else 0}f} {prefix}".rstrip()


def duration(seconds: float) -> str:
    """``48 s``, ``12 min 05 s``, ``3 h 07 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _rows(result: ComparisonResult, cells: Callable[[ComparedModel], Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """A row a model; the reason where it has no result."""
    return tuple(
        (model_title(model.name), *([f"no result: {model.failure}"] if not model.groups else cells(model)))
        for model in result.models
    )


def _position(result: ComparisonResult, group: str) -> int | None:
    """Row of the model that is best in a group."""
    return next((row for row, model in enumerate(result.models) if model.name == result.best(group)), None)


def _difference(difference: Difference, sign: int) -> tuple[str, str]:
    """Mean and interval, with the sign of the model that is seen from."""
    return f"{sign * difference.mean + 0.0:+.3f}", _signed_interval(difference.interval, sign)


def _signed_interval(found: Interval | None, sign: int) -> str:
    if found is None:
        return "-"
    low, high = sorted((sign * found.low, sign * found.high))
    return f"{low + 0.0:+.3f} to {high + 0.0:+.3f}"


def _range(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"
