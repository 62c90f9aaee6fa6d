"""What happens in long recordings, as it is drawn before any frame is."""

import numpy as np

from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.synthesis.long_script import _talk, write_long_script


def test_the_shortest_recordings_show_an_expression_too() -> None:
    """Five seconds have room for one or two events, and two events in five are no expressions."""
    for seed in range(40):
        script = write_long_script("casme-sq", seconds=5, fps=30, rng=np.random.default_rng(seed))
        assert script.expressions
        assert all(0 <= event.onset < event.apex < event.offset < 150 for event in script.expressions)


def test_talk_of_any_length_has_numbers_in_all_frames() -> None:
    """The envelope ends in the sine of pi, which rounds to just below 0 for some lengths."""
    for length in range(30, 76):
        au = np.zeros((length, len(AU_NAMES), 2))
        _talk(au, 30, np.random.default_rng(0))
        assert np.isfinite(au).all(), length
