"""What the commands share: options, each a Pydantic field that says type, bounds, default and help; the console."""

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from schemas.errors import MerError
from schemas.model import Model
from schemas.settings import field_of, is_nested, nested, validated

if TYPE_CHECKING:
    from rich.console import Console

M = TypeVar("M", bound=Model)
Command = Callable[..., None]
Completer = Callable[[typer.Context, str], list[str]]

_UNBOUNDED = 10_000  # columns of a pipe or a file: no table is cropped there, and no key divided

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def console() -> "Console":
    """Where commands print tables and progress: as wide as the terminal, or as what is printed where there is none."""
    from rich.console import Console

    made = Console(soft_wrap=not sys.stdout.isatty())
    if not (made.is_terminal or made.is_jupyter or os.environ.get("COLUMNS")):
        made.width = _UNBOUNDED
    return made


def examples(first: str, second: str) -> str:
    """What stands below the help of a command: two uses of it, to be copied."""
    return f"\b\nExamples:\n  {first}\n  {second}"


def offered(names: Callable[[typer.Context], Iterable[str]]) -> Completer:
    """What a shell offers where an option takes one of some names, or several with commas.

    Args:
        names: all of them, given what was typed before. They are asked for when somebody presses the key; where that
            fails, for want of a store, nothing is offered.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        try:
            return [f"{before}{comma}{name}" for name in names(ctx) if name.startswith(last)]
        except MerError:
            return []

    return complete


class Given:
    """What a user has set by options, as fields of the models that the options are of."""

    def __init__(self, values: Mapping[type[Model], dict[str, Any]]) -> None:
        self._values = values

    def fields(self, model: type[Model]) -> dict[str, Any]:
        """Fields of a model, nested as in a file; none that was left out."""
        return self._values.get(model, {})

    def make(self, model: type[M]) -> M:
        """A model of them; raises as ``validated``."""
        return validated(model, self.fields(model))


def options(
    model: type[Model],
    *names: str,
    default: str | None = None,
    complete: Mapping[str, Completer] | None = None,
) -> Callable[[Command], Command]:
    """Add options to a command, which is called with what the user has set as its argument ``given``.

    Args:
        model: whose fields they are.
        names: of the fields, dotted where they are nested; by default all that are not models themselves.
        default: what help texts say instead of the fields' own defaults.
        complete: field -> what a shell offers for its option.
    """
    paths = names or tuple(name for name, field in model.model_fields.items() if not is_nested(field))
    offers = complete or {}
    added = {
        path.rpartition(".")[2]: (path, _parameter(path, field_of(model, path), default, offers.get(path)))
        for path in paths
    }

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)

        @wraps(command)
        def call(**values: Any) -> None:
            chosen = {path: values.pop(name) for name, (path, _) in added.items()}
            given: Given = values.pop("given", Given({}))
            fields = nested({path: value for path, value in chosen.items() if value is not None})
            command(**values, given=Given({**given._values, model: _lists(model, fields)}))

        own = [parameter for name, parameter in signature.parameters.items() if name != "given"]
        parameters = [*own, *(parameter for _, parameter in added.values())]
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return call

    return decorate


def _parameter(
    path: str, field: FieldInfo | None, default: str | None, complete: Completer | None
) -> inspect.Parameter:
    """The option of a field. Its default is ``None``, so that what a user has set can be told from what is left."""
    assert field is not None, f"{path} has no type of its own"
    name = path.rpartition(".")[2]
    kind = _plain(field.annotation)
    text = field.description or name
    shown = default or ("" if field.is_required() else field.get_default(call_default_factory=True))
    if shown not in (None, (), ""):
        text += f"  [default: {shown}]"
    low = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    high = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    numeric = kind in (int, float)
    option = typer.Option(
        help=text,
        min=low if numeric else None,  # type: ignore[arg-type]
        max=high if numeric else None,  # type: ignore[arg-type]
        show_default=False,
        autocompletion=complete,
    )
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=None, annotation=Annotated[kind | None, option])


def _plain(annotation: Any) -> Any:
    """The type of an option: without ``None``; a tuple of texts is one text with commas."""
    if get_origin(annotation) is tuple:
        return str
    if get_origin(annotation) in (Union, type(int | None)):
        (only,) = (kind for kind in get_args(annotation) if kind is not type(None))
        return _plain(only)
    return annotation


def _lists(model: type[Model], fields: dict[str, Any]) -> dict[str, Any]:
    """Texts with commas as the tuples that their fields are."""
    return {
        name: tuple(part.strip() for part in value.split(","))
        if isinstance(value, str) and get_origin(model.model_fields[name].annotation) is tuple
        else value
        for name, value in fields.items()
    }
