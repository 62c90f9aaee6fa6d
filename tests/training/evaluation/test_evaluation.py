"""The whole evaluation: joined by key, strict about clips and folds, honest about what it does not know."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import f1_score

from schemas.errors import ConfigError, PredictionsError, ProtocolError, StoreError
from schemas.manifest import Manifest
from tests.training.labelled_manifests import casme2, make_entry, make_manifest, samm, smic, write_store
from training.evaluation.evaluate import evaluate, evaluate_file
from training.evaluation.metrics import METRICS
from training.evaluation.predictions import Predictions, concatenate, write_predictions
from training.evaluation.result import COMPOSITE, EvaluationResult
from training.evaluation.terminal import evaluation_report
from training.protocols.protocol import Protocol, find_protocol
from training.protocols.splits import make_folds
from training.protocols.tasks import select_clips

LOSO = find_protocol("smic-3")


@pytest.fixture(scope="module")
def hs() -> Manifest:
    return smic()


def make_predictions(
    protocol: Protocol, manifests: list[Manifest], *, seed: int = 0, right: float = 1.0, counts: str = "published"
) -> Predictions:
    """Rows for every test clip; a share ``right`` of them names the true class, the rest any."""
    random = np.random.default_rng(seed)
    selection = select_clips(protocol.task, manifests, counts=counts)
    label = {clip.key: clip.label for clip in selection.clips}
    rows = [(key, fold.name) for fold in make_folds(protocol.split, selection.clips) for key in fold.test]
    classes = protocol.task.classes
    probabilities = random.dirichlet(np.ones(len(classes)), len(rows))
    for row, (key, _) in enumerate(rows):
        if random.random() < right:
            probabilities[row] = (probabilities[row] + 2 * np.eye(len(classes))[label[key]]) / 3
    return Predictions(
        classes, tuple(key for key, _ in rows), tuple(fold for _, fold in rows), (seed,) * len(rows), probabilities
    )


def test_a_score_on_synthetic_clips_says_so_first(hs: Manifest) -> None:
    """Before every other caveat, which reports and comparisons take over; that of recordings does not."""
    predictions = make_predictions(LOSO, [hs])
    result = evaluate(predictions, [hs.model_copy(update={"synthetic": True})], LOSO)
    assert result.caveats[0].startswith("smic-hs is synthetic: ")
    assert [store.synthetic for store in result.stores] == [True]
    assert not any("synthetic" in caveat for caveat in evaluate(predictions, [hs], LOSO).caveats)


def test_perfect_predictions_score_one(hs: Manifest) -> None:
    """Every metric, class and subject is 1, above both floors; one seed has no spread, and that is said."""
    result = evaluate(make_predictions(LOSO, [hs]), [hs], LOSO)
    group = result.headline
    for metric in METRICS:
        spread = group.metrics[metric]
        assert (spread.mean, spread.sd) == (1, None)
        assert spread.interval is not None
        assert (spread.interval.low, spread.interval.high) == (1, 1)
        assert all(floor.metrics[metric].high < 1 for floor in group.floors)
    assert all(subject.accuracy == {0: 1} for subject in result.subjects)
    assert len(result.subjects) == group.subjects == result.test_folds == 16
    assert result.published_counts
    assert result.caveats == ("One seed: how much of the result is chance of the training is unknown.",)


def test_what_was_done_to_the_numbers_is_said_beside_the_result(hs: Manifest) -> None:
    """That rounded probabilities were renormalised is a caveat."""
    rounded = replace(make_predictions(LOSO, [hs]), note="The probabilities are rounded.")
    assert evaluate(rounded, [hs], LOSO).caveats[-1] == "The probabilities are rounded."


def test_unpublished_counts_are_said_to_be_unchecked(hs: Manifest) -> None:
    """Where nobody has said how many clips a class there are, the result claims nothing."""
    [rule] = LOSO.task.datasets
    task = LOSO.task.model_copy(update={"datasets": (rule.model_copy(update={"expected": {}}),)})
    protocol = LOSO.model_copy(update={"task": task})
    result = evaluate(make_predictions(LOSO, [hs]), [hs], protocol)
    assert not result.published_counts
    assert result.which_clips == "all of the stores; nobody has published their number"
    assert "How many clips a class smic-hs has is not published: that these are all was not checked." in result.caveats


def test_labels_are_joined_by_key(hs: Manifest) -> None:
    """Order of rows and of class columns does not matter, nor what folds are called."""
    made = make_predictions(LOSO, [hs], right=0.6)
    random = np.random.default_rng(3)
    rows, columns = random.permutation(len(made.clips)), [2, 0, 1]
    shuffled = Predictions(
        tuple(made.classes[c] for c in columns),
        tuple(made.clips[r] for r in rows),
        tuple(f"my {made.folds[r]}" for r in rows),
        tuple(made.seeds[r] for r in rows),
        made.probabilities[np.ix_(rows, columns)],
    )
    one, other = (evaluate(p, [hs], LOSO) for p in (made, shuffled))
    assert one.groups == other.groups
    assert one.labels_sha256 == other.labels_sha256
    assert one.subjects == other.subjects


def test_seeds_are_summarised(hs: Manifest) -> None:
    """Mean and sample deviation of the seeds' own scores; the pooled matrix is their sum."""
    parts = [make_predictions(LOSO, [hs], seed=seed, right=0.5) for seed in (1, 2, 5)]
    group = evaluate(concatenate(parts), [hs], LOSO).headline
    alone = [evaluate(part, [hs], LOSO).headline.metrics["uf1"].mean for part in parts]
    assert group.metrics["uf1"].mean == pytest.approx(np.mean(alone))
    assert group.metrics["uf1"].sd == pytest.approx(np.std(alone, ddof=1))
    assert [scores.uf1 for scores in group.seeds.values()] == pytest.approx(alone)
    assert list(group.seeds) == [1, 2, 5]
    assert group.pooled.clips == 3 * 164
    interval = group.metrics["uf1"].interval
    assert interval is not None
    assert interval.low < group.metrics["uf1"].mean < interval.high


def test_composite_and_each_dataset() -> None:
    """Counts of the datasets add up to the composite's."""
    manifests, protocol = [casme2(), samm(), smic()], find_protocol("megc2019")
    result = evaluate(make_predictions(protocol, manifests, right=0.5), manifests, protocol)
    assert list(result.groups) == [COMPOSITE, "casme2", "samm", "smic-hs"]
    parts = [np.array(result.groups[name].pooled.confusion) for name in ("casme2", "samm", "smic-hs")]
    np.testing.assert_array_equal(sum(parts), result.headline.pooled.confusion)
    assert (result.headline.clips, result.headline.subjects) == (442, 68)
    assert result.left_out["casme2: excluded by name"] == 2


def test_result_is_json_and_comes_back(hs: Manifest) -> None:
    """What is saved can be read again, and says all that was computed."""
    result = evaluate(make_predictions(LOSO, [hs], right=0.7), [hs], LOSO)
    text = json.dumps(result.model_dump(mode="json"))
    assert EvaluationResult.model_validate_json(text) == result


def test_report_shows_numbers_floors_and_caveats(hs: Manifest) -> None:
    """The headline, the floors, the classes, and every caveat stand on the screen."""
    result = evaluate(make_predictions(LOSO, [hs], right=0.7), [hs], LOSO)
    console = Console(width=170, no_color=True)
    with console.capture() as shown:
        console.print(evaluation_report(result))
    text = shown.get()
    assert f"{result.headline.metrics['uf1'].mean:.3f}" in text
    for word in ("smic-3/loso", "majority class", "class-prior guesser", "Eq. 30", "surprise", *result.caveats):
        assert word in text


def test_partial_data_is_flagged(hs: Manifest) -> None:
    """A store without some clips is refused; allowed, the result says so in three places."""
    partial = hs.model_copy(update={"clips": hs.clips[:-5]})
    made = make_predictions(LOSO, [partial], counts="any")
    with pytest.raises(ProtocolError, match="the clips are not the published ones"):
        evaluate(made, [partial], LOSO)
    result = evaluate(made, [partial], LOSO, counts="any")
    assert not result.published_counts
    assert result.differences
    assert result.labels_sha256 != evaluate(make_predictions(LOSO, [hs]), [hs], LOSO).labels_sha256
    assert result.caveats[0].startswith("The clips are NOT the published ones: smic-hs:")


def test_clips_must_be_exactly_the_protocols(hs: Manifest) -> None:
    """A hard clip cannot be left away, nor a clip of no class brought in."""
    made = make_predictions(LOSO, [hs])
    without = Predictions(made.classes, made.clips[1:], made.folds[1:], made.seeds[1:], made.probabilities[1:])
    with pytest.raises(PredictionsError, match=f"seed 0 has 163 clips, expected 164: missing: {made.clips[0]}"):
        evaluate(without, [hs], LOSO)
    with pytest.raises(PredictionsError, match="not among the test clips of the protocol: smic-hs/s1/copy"):
        evaluate(replace(made, clips=("smic-hs/s1/copy", *made.clips[1:])), [hs], LOSO)
    with pytest.raises(PredictionsError, match="class columns: missing: positive; unknown: happy"):
        evaluate(replace(made, classes=("happy", "negative", "surprise")), [hs], LOSO)


def test_ties_are_counted(hs: Manifest) -> None:
    """Two equal largest probabilities are the first class, and a caveat."""
    made = make_predictions(LOSO, [hs])
    flat = made.probabilities.copy()
    flat[:10] = 1 / 3
    result = evaluate(replace(made, probabilities=flat), [hs], LOSO)
    assert result.ties == 10
    assert "10 predictions have two equal largest probabilities" in result.caveats[-1]


def test_folds_must_be_the_protocols(hs: Manifest) -> None:
    """Random folds under the name of LOSO are refused, with a clip that shows it."""
    made = make_predictions(LOSO, [hs])
    mixed = tuple(f"fold {i % 16}" for i in range(len(made.folds)))
    with pytest.raises(PredictionsError, match=r"the folds are not those of smic-3/loso: fold 'fold 0' holds 11 clips"):
        evaluate(replace(made, folds=mixed), [hs], LOSO)
    with pytest.raises(PredictionsError, match=r"16 folds, found 1\)"):
        evaluate(replace(made, folds=("all",) * 164), [hs], LOSO)


def test_other_k_folds_are_accepted_if_subject_disjoint(hs: Manifest) -> None:
    """Somebody's own division into five is k-fold too, which is recorded; one that splits a person is not."""
    protocol = find_protocol("smic-3/kfold")
    made = make_predictions(protocol, [hs])
    assert evaluate(made, [hs], protocol).folds == "protocol"
    subjects = sorted({clip.split("/")[1] for clip in made.clips})
    own = tuple(str(subjects.index(clip.split("/")[1]) % 5) for clip in made.clips)
    result = evaluate(replace(made, folds=own), [hs], protocol)
    assert result.folds == "other"
    assert "not the protocol's own" in result.caveats[-1]
    split = tuple(str(i % 5) for i in range(len(made.clips)))
    with pytest.raises(PredictionsError, match=r"smic-hs/s\d+ is in folds '\d' and '\d'; expected one"):
        evaluate(replace(made, folds=split), [hs], protocol)
    with pytest.raises(PredictionsError, match="found 4 folds, expected 5"):
        evaluate(replace(made, folds=tuple(str(int(f) % 4) for f in own)), [hs], protocol)


def test_holdout_scores_its_test_part_alone(hs: Manifest) -> None:
    """As many clips as the protocol tests; predictions of training clips are unknown clips."""
    protocol = find_protocol("smic-3/holdout")
    made = make_predictions(protocol, [hs], right=0.8)
    result = evaluate(made, [hs], protocol)
    assert result.headline.clips == len(made.clips) < 164
    with pytest.raises(PredictionsError, match=f"expected {len(made.clips)}: missing: none; not among the test"):
        evaluate(make_predictions(LOSO, [hs]), [hs], protocol)


def test_lovo_is_marked_as_dependent_on_subjects(hs: Manifest) -> None:
    """The paper's one-way cross-validation trains on the test subject: its results carry a caveat."""
    protocol = find_protocol("smic-3/lovo")
    result = evaluate(make_predictions(protocol, [hs]), [hs], protocol)
    assert result.test_folds == 164
    assert result.caveats[0].startswith("Other clips of each test subject are trained on")


def test_evaluation_is_deterministic(hs: Manifest) -> None:
    """The same input gives the same bytes."""
    made = make_predictions(LOSO, [hs], right=0.5)
    assert evaluate(made, [hs], LOSO).model_dump_json() == evaluate(made, [hs], LOSO).model_dump_json()


def test_a_file_and_stores_on_disk(tmp_path: Path) -> None:
    """As `mer evaluate` does it: the protocol is found by classes and datasets, or named."""
    manifests, protocol = [casme2(), samm(), smic()], find_protocol("megc2019")
    stores = [write_store(tmp_path / f"{i}.zarr", manifest) for i, manifest in enumerate(manifests)]
    made, path = make_predictions(protocol, manifests, right=0.5), tmp_path / "p.csv"
    write_predictions(path, made)
    assert evaluate_file(path, stores) == evaluate_file(path, stores, protocol="megc2019/loso")
    assert evaluate_file(path, stores) == evaluate(made, manifests, protocol)
    with pytest.raises(ConfigError, match="takes no clips of this dataset"):
        evaluate_file(path, stores, protocol="smic-3")
    with pytest.raises(ConfigError, match="no store given"):
        evaluate_file(path, [])
    with pytest.raises(StoreError, match="expected a store made by"):
        evaluate_file(path, [tmp_path / "gone.zarr"])
    write_predictions(path, replace(made, clips=("x", *made.clips[1:])))
    with pytest.raises(PredictionsError, match=rf"{path}: seed 0 has 442 clips, expected 442: missing: casme2/"):
        evaluate_file(path, stores)


def test_anybodys_own_task(tmp_path: Path, hs: Manifest) -> None:
    """A task from a file: another merging of the classes, with its own counts, on a store as it is."""
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        [task]
        name = "surprise"
        title = "surprise or not"
        classes = ["yes", "no"]
        [[task.datasets]]
        dataset = "smic-hs"
        classes = {surprise = "yes", positive = "no", negative = "no"}
        expected = {yes = 43, no = 121}
        expected_subjects = 16
        [split]
        kind = "loso"
        """
    )
    protocol = find_protocol(str(path))
    write_predictions(tmp_path / "p.csv", make_predictions(protocol, [hs]))
    result = evaluate_file(tmp_path / "p.csv", [write_store(tmp_path / "s.zarr", hs)], protocol=str(path))
    assert result.headline.class_clips == {"yes": 43, "no": 121}
    assert result.headline.metrics["uf1"].mean == 1
    assert result.stores[0].content_sha256 == hs.expected_sha256()
    assert result.stores[0].datasets == ("smic-hs",)


def test_a_part_of_a_composite_without_a_class_has_no_scores_of_its_own() -> None:
    """It counts in the composite, as scikit-learn counts it, and what it lacks is said; no class is dropped."""
    whole, other = smic(), samm()
    lacking = make_manifest("samm", (make_entry(e.key, e.label) for e in other.clips if e.label.emotion != "surprise"))
    protocol = find_protocol("megc2019/cross-dataset")
    made = make_predictions(protocol, [whole, lacking], counts="any")
    result = evaluate(made, [whole, lacking], protocol, counts="any")
    assert list(result.groups) == [COMPOSITE, "smic-hs"]
    assert (
        "samm has no test clip of class surprise: it is part of the composite, and has no scores of its own."
        in result.caveats
    )
    label = {clip.key: clip.label for clip in select_clips(protocol.task, [whole, lacking], counts="any").clips}
    named = made.probabilities.argmax(axis=1)
    expected = f1_score([label[key] for key in made.clips], named, average="macro")
    assert result.headline.metrics["uf1"].mean == pytest.approx(expected)


def test_a_single_dataset_without_a_class_is_an_error() -> None:
    """A class without clips has no score, and a mean over the others would be of another task."""
    lacking = make_manifest(
        "smic-hs", (make_entry(e.key, e.label) for e in smic().clips if e.label.emotion != "surprise")
    )
    with pytest.raises(ProtocolError, match="no clip of class surprise among"):
        evaluate(make_predictions(LOSO, [smic()]), [lacking], LOSO, counts="any")
