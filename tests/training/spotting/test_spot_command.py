"""`mer spot` from videos to intervals: two faces whose mouth corners rise at known times, moved by plain warps."""

import json
import re
import signal
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipeline.clip.live import LiveFrame, LiveVideo
from pipeline.synthesis.layouts.files import VideoFile
from schemas.errors import ProtocolError
from schemas.store.reader import Store
from tests.command_line import mer
from tests.pipeline.clip.test_tracking import still
from tests.training.inference.test_predict import PROTOCOL
from tests.training.run_folders import make_run_folder
from training.fit.folder import RunFolder
from training.inference.predict import Ensemble
from training.protocols.protocol import find_protocol
from training.protocols.tasks import subject_of
from training.spotting.intervals import Spotted
from training.spotting.output import write_megc

FPS, FRAMES = 10, 60
RISES = {0: [(8, 18), (36, 46)], 1: [(14, 24), (42, 52)]}  # of person: first and last frame, 0-based


@cache
def mouth(person: int) -> NDArray[np.float64]:
    """1 about the corners of the mouth, as MTCNN finds them."""
    from pipeline.clip.mtcnn import Mtcnn

    face = Mtcnn().detect(still(person))
    assert face is not None
    y, x = np.mgrid[: still(person).shape[0], : still(person).shape[1]]
    bumps = [np.exp(-0.5 * (((x - a) / 12) ** 2 + ((y - b) / 12) ** 2)) for a, b in face.points[3:]]
    return np.asarray(sum(bumps), np.float64)


def write(path: Path, person: int) -> None:
    noise = np.random.default_rng(person)
    y, x = np.mgrid[: still(person).shape[0], : still(person).shape[1]].astype(np.float32)
    frames = []
    for position in range(FRAMES):
        up = sum(
            4 * (0.5 - 0.5 * np.cos(2 * np.pi * (position - a) / (b - a))) for a, b in RISES[person] if a < position < b
        )
        image = cv2.remap(still(person), x, (y + up * mouth(person)).astype(np.float32), cv2.INTER_CUBIC)
        frames.append(np.clip(image + noise.normal(0, 1, image.shape), 0, 255).astype(np.uint8))
    file = VideoFile(path, FPS)
    file.append(frames)
    file.close()


@pytest.fixture(scope="module")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spot")
    for person in RISES:
        write(folder / f"{person}.avi", person)
    rows = "".join(f"{p},{p}-{a},{p}.avi,{a + 1},{b + 1},disgust\n" for p, found in RISES.items() for a, b in found)
    (folder / "clips.csv").write_text("subject,clip,path,onset,offset,emotion\n" + rows)
    made = mer(
        "preprocess", folder / "clips.csv", "--long", "-o", folder / "long.zarr", "--workers", "0", "--device", "cpu"
    )
    assert made.code == 0, made.error
    done = mer("spot", folder / "long.zarr", "-o", folder / "run", "--device", "cpu")
    assert done.code == 0, done.error
    assert "complete; open" in done.printed
    return folder


def test_a_store_is_spotted_by_leave_one_subject_out_and_scored(spotted: Path) -> None:
    result = json.loads((spotted / "run" / "result.json").read_text())
    assert result["expressions"] == {"both": 4, "micro": 0, "macro": 4}
    assert result["scores"][0]["true_positives"] >= 2
    again = mer(
        "evaluate", spotted / "run" / "intervals.csv", "--store", spotted / "long.zarr", "--task", "spot", "--json"
    )
    assert json.loads(again.printed)["scores"] == result["scores"]
    page = (spotted / "run" / "report.html").read_text()
    assert page.count("data:image/webp") == min(8, result["scores"][0]["false_negatives"]) + min(
        8, result["scores"][0]["false_positives"]
    )


def test_a_video_is_spotted_as_the_run_learnt(spotted: Path) -> None:
    done = mer("spot", spotted / "1.avi", "--like", spotted / "run", "-o", spotted / "video", "--device", "cpu")
    assert done.code == 0, done.error
    assert "real-time factor" in done.printed
    rows = json.loads((spotted / "video" / "intervals.json").read_text())
    for first, last in RISES[1]:
        begins = [row["begin_s"] for row in rows if row["type"] == "macro"]
        ends = [row["end_s"] for row in rows if row["type"] == "macro"]
        assert min(abs(begin - first / FPS) for begin in begins) < 0.4
        assert min(abs(end - (last + 1) / FPS) for end in ends) < 0.4
    assert (spotted / "video" / "video_1_1.vtt").read_text().startswith("WEBVTT")
    assert "1.avi" in (spotted / "video" / "timeline.html").read_text()


@pytest.mark.slow
def test_what_is_spotted_gets_a_class_and_its_probabilities(spotted: Path, shared_store: Store) -> None:
    """Of a model that learnt nothing: what counts is that each interval has the class of its own row."""
    run = recogniser(spotted / "recogniser", shared_store, PROTOCOL)
    done = mer(
        "spot", spotted / "1.avi", "--like", spotted / "run", "-o", spotted / "named", "--device", "cpu",
        "--with", run.path, "--megc", spotted / "megc.csv",
    )  # fmt: skip
    assert done.code == 0, done.error
    rows = json.loads((spotted / "named" / "intervals.json").read_text())
    table = pd.read_csv(spotted / "named" / "predictions.csv", keep_default_na=False)
    assert len(rows) == len(table) > 0
    for row in rows:
        overlaps = table.end_s.clip(upper=row["end_s"]) - table.start_s.clip(lower=row["begin_s"])
        assert row["emotion"] == (table.predicted[overlaps.idxmax()] or None)
    assert any(row["emotion"] for row in rows)
    micro = [row for row in rows if row["type"] == "micro"]
    written = pd.read_csv(spotted / "megc.csv", keep_default_na=False)
    assert list(written) == ["subject", "video", "onset", "offset", "emotion"]
    assert written.onset.tolist() == [row["onset"] for row in micro]


SMALL = {"dims": (32, 32, 32), "depths": (1, 1, 1), "stem_width": 4, "au_layers": 1}


def recogniser(path: Path, store: Store, protocol: str) -> RunFolder:
    """A run of models that learnt nothing."""
    path.with_suffix(".toml").write_text(protocol)
    found = find_protocol(str(path.with_suffix(".toml")))
    return make_run_folder(path, [store], found, seeds=(0,), model=SMALL)


@pytest.mark.slow
def test_what_is_spotted_in_a_store_gets_a_class_and_the_whole_a_score(spotted: Path, shared_store: Store) -> None:
    """STRS is F1 of spotting times the mean F1 of classes; all that is true is of the class ``low``."""
    of_table = '[[task.datasets]]\ndataset = "clips"\nclasses = {disgust = "low", anger = "high"}\n'
    of_table += 'expression_type = "macro"\nexpected = {}\nexpected_subjects = 2\n[split]'
    run = recogniser(spotted / "of-both", shared_store, PROTOCOL.replace("[split]", of_table))
    out = spotted / "classed"
    done = mer("spot", spotted / "long.zarr", "-o", out, "--device", "cpu", "--with", run.path)
    assert done.code == 0, done.error
    result = json.loads((out / "result.json").read_text())
    alone = json.loads((spotted / "run" / "result.json").read_text())
    assert result["scores"] == alone["scores"]
    table = pd.read_csv(out / "intervals.csv", keep_default_na=False)
    assert set(table.emotion) <= {"low", "high"}, "a face was found in each again"
    analysis = result["analysis"]
    assert analysis["intervals"] == alone["scores"][0]["true_positives"]
    assert list(analysis["classes"]) == ["low"]
    assert result["strs"] == pytest.approx(analysis["f1"] * result["scores"][0]["f1"])
    assert "STRS" in (out / "report.html").read_text()


def test_whom_the_models_have_learnt_from_gets_no_class(spotted: Path, shared_store: Store) -> None:
    """Of two people each is left out once: one model remains for each, both for a stranger, none for a third."""
    folder = recogniser(spotted / "of-one", shared_store, PROTOCOL)
    ensemble = Ensemble.open(folder)
    people = sorted({subject_of(key) for fold in ensemble.run.folds for key in fold.test})
    for person in people:
        (left,) = ensemble.without(person).folders
        assert {subject_of(key) for key in left.fold.test} == {person}
    assert ensemble.without("clips/0") == ensemble
    first = Ensemble.open(folder, fold=people[0])
    with pytest.raises(ProtocolError, match=f"each model of the run has learnt from {people[1]}"):
        first.without(people[1])
    refused = mer("spot", spotted / "long.zarr", "-o", spotted / "refused", "--with", folder.path)
    assert "has a class for none of the intervals; its classes are low, high, of casme2" in refused.error
    assert not (spotted / "refused").exists()


def test_a_video_is_watched_at_its_own_rate_and_gives_what_spotting_it_gives(spotted: Path) -> None:
    """Six seconds of it; each line comes once its expression has ended."""
    video, like = spotted / "1.avi", ("--like", spotted / "run", "--device", "cpu")
    whole = mer("spot", video, *like, "-o", spotted / "whole")
    assert whole.code == 0, whole.error
    done = mer("watch", video, *like, "--json")
    assert done.code == 0, done.error
    *lines, last = [json.loads(line) for line in done.printed.splitlines()]
    rows = json.loads((spotted / "whole" / "intervals.json").read_text())
    assert len(lines) == len(rows) > 0
    for line, row in zip(lines, rows, strict=True):
        assert line["type"] == row["type"]
        assert abs(line["begin_s"] - row["begin_s"]) < 0.35
        assert abs(line["end_s"] - row["end_s"]) < 0.35
        assert line["latency_s"] > 0
    summary = last["summary"]
    assert summary["seconds"] == FRAMES / FPS
    assert summary["frames"] == FRAMES
    assert summary["micro"] + summary["macro"] == len(lines)
    assert 0 < summary["frame_latency_s"]["median"] <= summary["frame_latency_s"]["p95"]


def test_ctrl_c_ends_watching_with_a_summary(spotted: Path) -> None:
    interrupt = threading.Timer(2, signal.raise_signal, (signal.SIGINT,))

    def frames(source: LiveVideo) -> Iterator[LiveFrame]:
        interrupt.start()
        return played(source)

    played = LiveVideo.frames
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiveVideo, "frames", frames)  # the two seconds begin when the video does
        done = mer("watch", spotted / "1.avi", "--like", spotted / "run", "--device", "cpu")
    interrupt.cancel()
    assert done.code == 0, done.error
    assert re.search(r"(?m)^[1-4]\.\d s watched: ", done.printed)
    assert "from capture of a frame to its analysis: median" in done.printed


def test_the_challenges_table_is_of_micro_expressions_alone(tmp_path: Path) -> None:
    spotted = [
        Spotted("samm-long/006/006_1", 30, 60, "micro", emotion="others"),
        Spotted("samm-long/006/006_1", 5, 9, "micro"),
        Spotted("samm-long/006/006_2", 1, 900, "macro"),
    ]
    assert write_megc(tmp_path / "megc.csv", spotted).read_text() == (
        "subject,video,onset,offset,emotion\n006,006_1,5,9,\n006,006_1,30,60,others\n"
    )


def test_options_that_do_not_go_together_are_refused(spotted: Path) -> None:
    video, like = spotted / "1.avi", ("--like", spotted / "run")
    assert "leave it out" in mer("spot", video, *like, "--method", "madv-spot").error
    assert "choose another folder" in mer("spot", video, *like, "-o", spotted / "run").error
    assert "leave one of both out" in mer("spot", spotted / "long.zarr", *like, "--with", "RUN").error
    assert "there are flow-peaks, madv-spot" in mer(
        "spot", spotted / "long.zarr", "--method", "none", "-o", spotted / "none"
    ).error  # fmt: skip


@pytest.mark.slow
def test_a_video_whose_face_is_blurred_is_named(spotted: Path, tmp_path: Path) -> None:
    """Alone it is an error and nothing is written; beside another it is a note, also on the page."""
    file = VideoFile(tmp_path / "blurred.avi", FPS)
    file.append([cv2.GaussianBlur(still(0), (0, 0), 25)] * 12)
    file.close()
    like = ("--like", spotted / "run", "--device", "cpu")
    alone = mer("spot", tmp_path / "blurred.avi", *like, "-o", tmp_path / "alone")
    assert alone.code == 2
    assert re.fullmatch(r"error: \S*blurred.avi: no face found once a second; .*\n", alone.error.splitlines(True)[-1])
    assert not (tmp_path / "alone").exists()
    (tmp_path / "1.avi").symlink_to(spotted / "1.avi")
    both = mer("spot", tmp_path, *like, "-o", tmp_path / "both")
    assert both.code == 0, both.error
    assert "blurred.avi: no face found" in both.printed
    assert "blurred.avi: no face found" in (tmp_path / "both" / "timeline.html").read_text()


def test_videos_that_cannot_be_used_are_no_success(spotted: Path, tmp_path: Path) -> None:
    """All of them: one line and nothing written; one beside another: the other's answers, and the exit code says so."""
    (tmp_path / "broken.avi").write_bytes(b"no video")
    like = ("--like", spotted / "run", "--device", "cpu")
    alone = mer("spot", tmp_path, *like, "-o", tmp_path / "alone")
    assert alone.code == 1
    assert "broken.avi" in alone.error
    assert alone.error.splitlines()[-1] == "none of 1 video can be used: nothing is written"
    assert not (tmp_path / "alone").exists()
    (tmp_path / "1.avi").symlink_to(spotted / "1.avi")
    both = mer("spot", tmp_path, *like, "-o", tmp_path / "both")
    assert both.code == 1
    assert "broken.avi" in both.error
    assert (tmp_path / "both" / "intervals.csv").is_file()


def test_a_video_without_thresholds_says_where_they_come_from(spotted: Path) -> None:
    assert "a video needs --like FOLDER" in mer("spot", spotted / "1.avi").error
