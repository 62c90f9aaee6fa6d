"""The overview of commands, and options as fields of models."""

import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer
from rich.table import Table

import cli
from pipeline.cli import copies, datasets, inspection, sharing, synthesis, weights
from schemas.config import Execution, PreprocessConfig
from schemas.errors import ConfigError
from schemas.options import console
from schemas.settings import assignments
from schemas.store.reader import Store
from tests.command_line import mer
from training.cli import models, results, spotting, train, videos, watch
from training.config import TrainConfig, TrainExecution

MODULES = (
    copies, datasets, inspection, sharing, synthesis, weights,
    train, results, videos, spotting, watch, models,
)  # fmt: skip
AREAS = {module.__name__: module.app for module in MODULES}


def test_no_other_command_waits_for_the_viewers_server() -> None:
    done = f"import sys, {', '.join(AREAS)}; sys.exit('bokeh' in sys.modules or 'tornado' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", done], check=False).returncode == 0


def test_the_overview_lists_every_command_once() -> None:
    """A command that is missing there could not be called at all."""
    listed = {(command.module, name) for group in cli.COMMANDS.values() for name, command in group.items()}
    there = {
        (module, name)
        for module, app in AREAS.items()
        for name, command in typer.main.get_group(app).commands.items()
        if not command.hidden
    }
    assert listed == there
    overview = mer("--help").printed
    assert all(name in overview for _, name in listed)
    assert all(len(command.summary) < 66 for group in cli.COMMANDS.values() for command in group.values())


@pytest.mark.parametrize("name", [name for group in cli.COMMANDS.values() for name in group])
def test_the_help_of_a_command_ends_in_two_examples_that_are_understood(name: str) -> None:
    """Each is of this command, stands whole on a line, and has only options and arguments that there are."""
    lines = [line.strip() for line in mer(name, "--help").printed.splitlines()]
    examples = [line for line in lines[lines.index("Examples:") + 1 :] if line]
    assert len(examples) == 2
    for example in examples:
        program, *words = shlex.split(example)
        assert (program, words[0]) == ("mer", name)
        command: Any = typer.main.get_command(cli.app)
        context = None
        while hasattr(command, "resolve_command") and words:  # a group
            context = command.make_context("mer", list(words), parent=context)
            _, command, words = command.resolve_command(context, list(words))
        command.make_context(name, list(words), parent=context)


def offers(monkeypatch: pytest.MonkeyPatch, typed: str) -> list[str]:
    """What bash offers behind a line that ends in a half word."""
    monkeypatch.setenv("_MER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    return mer().printed.split()


def test_a_shell_completes_models_protocols_and_clips(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offers(monkeypatch, "mer train --model mad") == ["madv_net"]
    assert set(offers(monkeypatch, "mer compare --models c3d,st")) == {"c3d,stt", "c3d,ststnet"}
    assert offers(monkeypatch, "mer models r3") == ["r3d-18"]
    assert offers(monkeypatch, "mer evaluate p.csv --protocol megc2019/l") == ["megc2019/loso", "megc2019/lovo"]
    keys = [entry.key for entry in store.manifest.clips]
    assert offers(monkeypatch, f"mer show {store.path} casme2/") == keys
    assert offers(monkeypatch, f"mer show {store.path}/nowhere casme2/") == []


def test_a_protocol_that_does_not_fit_is_refused_before_anything_is_loaded(store: Store) -> None:
    """PyTorch and scikit-learn take longer to load than it takes to see that the dataset is another."""
    program = (
        "import sys, cli\n"
        f"sys.argv = ['mer', 'train', '--store', {str(store.path)!r}, '--protocol', 'samm-5']\n"
        "try:\n    cli.main()\n"
        "except SystemExit as done:\n    print(done.code, {'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "2 set()\n"
    assert "samm-5 takes no clips of this dataset, only of samm" in done.stderr


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
