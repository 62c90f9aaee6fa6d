"""A spotter: fitted without the subjects it is tested on, and kept in a file for videos to come."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from schemas.errors import ProtocolError, RunFolderError
from schemas.model import Model
from schemas.output import write_text
from training.spotting.flow_peaks import Course, FlowPeaks, fit, spot
from training.spotting.intervals import Recording, Spotted

SPOTTER_FILE = "spotter.json"


class Spotter(Model):
    """What was learnt.

    Attributes:
        stores: content ids of the stores that it was fitted on.
        synthetic: whether any of these was made by `mer synth`.
        rules: fitted on all subjects; for new videos.
        folds: subject -> the rules that were fitted without this subject, and that it was tested with.
    """

    format: Literal["mer-spotter"] = "mer-spotter"
    format_version: Literal[1] = 1
    method: Literal["flow-peaks"] = "flow-peaks"
    stores: tuple[str, ...] = ()
    synthetic: bool = False
    rules: FlowPeaks
    folds: dict[str, FlowPeaks] = Field(default_factory=dict)


def leave_one_subject_out(
    courses: Mapping[str, Course], recordings: Sequence[Recording], stores: Sequence[str]
) -> tuple[Spotter, tuple[Spotted, ...]]:
    """Spot in each subject's recordings with what the others taught.

    Args:
        courses: key -> course, of each of the recordings.
        recordings: of at least two subjects.
        stores: content ids, recorded in the spotter.

    Raises:
        ProtocolError: a single subject.
        PredictionsError: no expression to learn from.
    """
    subjects = sorted({recording.subject for recording in recordings})
    if len(subjects) < 2:
        raise ProtocolError(
            f"{len(subjects)} subject: rules are tested on subjects that they were not fitted on; at least 2 are needed"
        )
    folds, answers = {}, []
    for subject in subjects:
        folds[subject] = fit(courses, [one for one in recordings if one.subject != subject])
        for recording in recordings:
            if recording.subject == subject:
                answers += spot(courses[recording.key], folds[subject])
    spotter = Spotter(
        stores=tuple(stores),
        synthetic=any(recording.synthetic for recording in recordings),
        rules=fit(courses, recordings),
        folds=folds,
    )
    return spotter, tuple(answers)


def write_spotter(folder: Path, spotter: Spotter) -> Path:
    """Write it into a folder; gives the file."""
    path = folder / SPOTTER_FILE
    write_text(path, spotter.model_dump_json(indent=1) + "\n")
    return path


def read_spotter(folder: Path) -> Spotter:
    """The spotter of a folder that `mer spot` wrote.

    Raises:
        RunFolderError: there is none, or none that this version reads.
    """
    path = folder / SPOTTER_FILE
    try:
        return Spotter.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{folder}: no {SPOTTER_FILE} there; expected the folder that `mer spot STORE` wrote"
        ) from error
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{path}: not a spotter that this version reads; run `mer spot STORE` again") from error
