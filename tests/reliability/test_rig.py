"""The short form of the rig; ``python -m tests.reliability`` prints the long one."""

from pathlib import Path

import pytest

from tests.reliability.kills import fingerprint
from tests.reliability.rig import Rig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return Rig(tmp_path_factory.mktemp("rig"))


@pytest.mark.parametrize("command", ["compare", "pull"])  # the others have kills in tests of their own
def test_killed_at_random_moments_a_command_ends_in_the_same_bytes(rig: Rig, command: str) -> None:
    figure = rig.kill(command, kills=1)
    assert figure.times >= 1
    assert figure.broken == ()


def test_a_full_disk_is_said_and_more_room_is_enough(rig: Rig) -> None:
    figure = rig.fill("pull", shares=[0.5])
    assert figure.broken == ()
    if not figure.times:
        pytest.skip(figure.what)


def test_every_damage_to_a_store_is_found(rig: Rig) -> None:
    assert rig.damage(damages=25).broken == ()


def test_a_run_with_workers_listens_on_loopback_alone_and_calls_nobody(rig: Rig) -> None:
    listening, calls = rig.listen()
    assert listening.times >= 3, "the scheduler and two workers were not seen at all"
    assert listening.broken == ()
    assert calls.broken == ()


def test_a_changed_byte_changes_the_fingerprint(tmp_path: Path) -> None:
    """The comparison of outputs could otherwise pass on anything."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.csv").write_text("a")
    before = fingerprint(tmp_path / "out")
    (tmp_path / "out" / "predictions.csv").write_text("b")
    assert fingerprint(tmp_path / "out") != before
    (tmp_path / "out" / "predictions.csv").write_text("a")
    (tmp_path / "out" / "time.json").write_text("1")
    assert fingerprint(tmp_path / "out", {"time.json"}) == before
