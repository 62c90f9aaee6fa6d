"""Things that are chosen by name: datasets, backends, models. Ours and those of other installed packages."""

import pkgutil
from collections.abc import Callable
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from schemas.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Name -> item. A module registers what it defines; nothing else has to know of it.

    On first use every module of ``package``, at any depth, is imported, and then what other packages offer under the
    entry point group ``mer.<kind>``: an entry point names either an item, which is registered under the entry point's
    own name, or a module that registers its items itself.

    Args:
        kind: names the entry point group, such as ``datasets``.
        package: dotted name of the package whose modules register ours.
        noun: the plural noun of error messages, where it is not the kind.
    """

    def __init__(self, kind: str, package: str, noun: str = "") -> None:
        self.kind, self.package, self.noun = kind, package, noun or kind
        self._items: dict[str, T] = {}
        self._owners: dict[str, str] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an item under a name.

        Raises:
            ConfigError: on use, if the name is taken by another item.
        """

        def add(item: T) -> T:
            if self._items.setdefault(name, item) is not item:
                raise ConfigError(f"two {self.noun} are called {name}; rename one of them")
            return item

        return add

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._loaded)

    def __getitem__(self, name: str) -> T:
        """The item of a name.

        Raises:
            ConfigError: no item has this name; the message lists those there are.
        """
        items = self._loaded
        if name not in items:
            near = get_close_matches(name, items, n=1)
            hint = f"did you mean {near[0]}? There" if near else "there"
            raise ConfigError(f"{name!r} is not among the {self.noun}; {hint} are {', '.join(sorted(items))}")
        return items[name]

    def owner(self, name: str) -> str:
        """The installed package that an item comes from, ``madv-mer`` for ours; raises as ``[name]`` does."""
        self[name]
        return self._owners[name]

    @cached_property
    def _loaded(self) -> dict[str, T]:
        for module in pkgutil.walk_packages(import_module(self.package).__path__, f"{self.package}."):
            import_module(module.name)
        self._owners = dict.fromkeys(self._items, "madv-mer")
        for point in entry_points(group=f"mer.{self.kind}"):
            owner = point.dist.name if point.dist is not None else point.value
            try:
                found = point.load()
            except Exception as error:
                raise ConfigError(f"{owner}: its entry point {point.name} of mer.{self.kind} fails: {error}") from error
            if not isinstance(found, type(pkgutil)):
                self.register(point.name)(found)
            self._owners = dict.fromkeys(self._items, owner) | self._owners
        return self._items
