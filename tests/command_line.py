"""The command ``mer`` in this process, as quick as a function call."""

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import NamedTuple

import pytest

import cli


class Outcome(NamedTuple):
    """Exit code, and what was printed."""

    code: object
    printed: str
    error: str


def mer(*arguments: object) -> Outcome:
    """Run ``mer ARGUMENTS`` through its entry point, on a terminal of 400 columns that is none."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as printed,
        redirect_stderr(StringIO()) as error,
    ):
        patch.setattr(sys, "argv", ["mer", *map(str, arguments)])
        patch.setenv("COLUMNS", "400")
        with pytest.raises(SystemExit) as exited:
            cli.main()
    return Outcome(exited.value.code, printed.getvalue(), error.getvalue())
