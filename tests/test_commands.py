"""The overview of commands, and options as fields of models."""

import subprocess
import sys

import pytest
import typer
from rich.table import Table

import cli
from pipeline.cli import app as pipeline_app
from schemas.config import Execution, PreprocessConfig
from schemas.errors import ConfigError
from schemas.options import console
from schemas.settings import assignments
from tests.command_line import mer
from training.cli import app as training_app
from training.config import TrainConfig, TrainExecution

AREAS = {"pipeline.cli": pipeline_app, "training.cli": training_app}


def test_no_other_command_waits_for_the_viewers_server() -> None:
    done = "import sys, pipeline.cli, training.cli; sys.exit('bokeh' in sys.modules or 'tornado' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", done], check=False).returncode == 0


def test_the_overview_lists_every_command_once() -> None:
    """A command that is missing there could not be called at all."""
    listed = {(module, name) for group in cli.COMMANDS.values() for name, (module, _) in group.items()}
    there = {
        (module, name)
        for module, app in AREAS.items()
        for name, command in typer.main.get_group(app).commands.items()
        if not command.hidden
    }
    assert listed == there
    overview = mer("--help").printed
    assert all(name in overview for _, name in listed)
    assert all(len(summary) < 66 for group in cli.COMMANDS.values() for _, summary in group.values())


@pytest.mark.parametrize("model", [PreprocessConfig, Execution])
def test_every_field_is_an_option_with_its_own_help(model: type[PreprocessConfig | Execution]) -> None:
    shown = " ".join(mer("preprocess", "--help").printed.split())
    for name, field in model.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert field.description
        assert " ".join(field.description.split()) in shown


def test_every_field_that_can_be_set_says_what_it_is() -> None:
    for model in (TrainConfig, TrainExecution, TrainConfig().optimisation, TrainConfig().augmentation):
        fields = model.model_fields if isinstance(model, type) else type(model).model_fields
        for name, field in fields.items():
            nested = name in ("optimisation", "augmentation")
            assert nested or (field.description or "").endswith("."), name


def test_bounds_and_choices_are_the_fields_own() -> None:
    assert "should be greater than or equal to 112" in mer("preprocess", ".", "--size", "1").error
    refused = mer("preprocess", ".", "--apex", "median").error
    assert "'motion'" in refused
    assert "'middle'" in refused


def test_assignments_are_toml_or_plain_texts() -> None:
    texts = ["optimisation.lr=1e-4", "model_options.discard=false", "seeds=[0, 4]", "model=stt", 'amp="off"']
    assert assignments(texts, TrainConfig) == {
        "optimisation": {"lr": 1e-4},
        "model_options": {"discard": False},
        "seeds": [0, 4],
        "model": "stt",
        "amp": "off",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimisation.epoch=1", r"optimisation\.epoch: no such field; did you mean epochs"),
        ("optimization.lr=1", r"optimization\.lr: no such field; did you mean optimisation\.lr"),
        ("frames.lr=1", "frames has no fields of its own"),
        ("frames", "expected name=value"),
    ],
)
def test_an_assignment_to_nothing_names_what_there_is(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        assignments([text], TrainConfig)


def test_a_table_in_a_pipe_is_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal there are no columns to fit into: what comes behind a pipe is searched by lines."""
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table("clip", "what happened")
    table.add_row("casme2/sub01/EP02_01f" * 20, "a long story " * 40)
    console().print(table)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "EP02" in line]
    assert "casme2/sub01/EP02_01f" * 20 in line
    assert line.count("a long story") == 40
