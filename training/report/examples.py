"""Example clips: neither the best nor the worst of each class."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.store.reader import Store
from training.evaluation.predictions import concatenate, read_predictions
from training.fit.folder import FoldFolder, Run
from training.protocols.tasks import select_clips


@dataclass(frozen=True)
class Example:
    """A test clip with its answer.

    Attributes:
        key: of the clip.
        label: its class.
        answer: class that the model gave it.
        probability: that the model gave its own class.
        folder: the fold that it was tested in.
        store: that holds it.
    """

    key: str
    label: str
    answer: str
    probability: float
    folder: FoldFolder
    store: Store

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.key}: {self.label}, p = {self.probability:.2f}" + (
            "" if self.answer == self.label else f", taken for {self.answer}"
        )


def choose_examples(run: Run, folders: Sequence[FoldFolder], stores: Sequence[Store]) -> tuple[Example, ...]:
    """Of each class the test clip whose own class got the median probability, with the first seed that has any.

    Of two medians the lower is taken. Folds that are not done, and classes that were not tested, have no example.
    """
    done = [folder for folder in folders if folder.done]
    done = [folder for folder in done if folder.seed == done[0].seed]
    if run.protocol is None or not done:
        return ()
    predictions = concatenate(read_predictions(folder.predictions) for folder in done)
    selection = select_clips(run.protocol.task, [store.manifest for store in stores], counts=run.config.counts)
    label_of = {clip.key: clip.label for clip in selection.clips}
    folder_of = {key: folder for folder in done for key in folder.fold.test}
    own = [label_of[clip] for clip in predictions.clips]
    of_own = predictions.probabilities[range(len(own)), own]
    examples = []
    for label, name in enumerate(run.classes):
        rows = sorted((of_own[row], predictions.clips[row], row) for row in range(len(own)) if own[row] == label)
        if rows:
            probability, key, row = rows[(len(rows) - 1) // 2]
            answer = run.classes[int(predictions.probabilities[row].argmax())]
            store = next(store for store in stores if key in store.manifest.index)
            examples.append(Example(key, name, answer, float(probability), folder_of[key], store))
    return tuple(examples)
