"""Progress on a terminal and in a log file."""

from io import StringIO

import pytest
from rich.console import Console

from schemas import progress
from schemas.progress import Progress


def test_a_log_file_gets_plain_lines_with_counts_failures_and_the_remaining_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of ten clips was done before, two more in four seconds: half a clip a second, so fourteen seconds for seven.

    The clock moves by hand.
    """
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "_PLAIN_INTERVAL", 3.0)
    out = StringIO()
    with Progress(Console(file=out, width=200), unit="clips", total=10, done=1) as bar:
        now[0] += 2
        bar.advance()
        assert out.getvalue() == "", "lines come every few seconds only"
        now[0] += 2
        bar.advance(failed=True, note="spNO.1/EP02 [weak]")
    assert out.getvalue() == "3/10 clips, 0.50 clips/s, 1 failed, spNO.1/EP02 [weak], 14 s left\n", "once, not again"


def test_the_last_line_says_that_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    out = StringIO()
    with Progress(Console(file=out, width=200), unit="bytes", total=3_000_000, title="pull") as bar:
        now[0] += 2
        bar.advance(3_000_000)
    assert out.getvalue() == "pull: 3.0 MB of 3.0 MB, 1.5 MB/s\n"


def test_a_job_with_nothing_to_do_says_nothing() -> None:
    out = StringIO()
    with Progress(Console(file=out), unit="clips", total=0):
        pass
    assert out.getvalue() == ""


def test_a_terminal_gets_a_bar_with_the_same_figures() -> None:
    out = StringIO()
    with Progress(Console(file=out, force_terminal=True, width=200), unit="clips", total=2) as bar:
        bar.advance(failed=True, note="S01 [epoch 3]")
        bar.say("S01: done")
    assert "1/2 clips" in out.getvalue()
    assert "1 failed, S01 [epoch 3]" in out.getvalue()
    assert "S01: done" in out.getvalue()
