"""What every dataset adapter is, and the registry of all of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from pipeline.datasets.image_trees import ImageTree
from pipeline.datasets.tree import Tree
from schemas.clip import DatasetScan
from schemas.datasets import DatasetFacts
from schemas.registry import Registry


class Adapter(ABC):
    """One dataset.

    Attributes:
        facts: what is published about it; ``facts.name`` is its name in keys and on the command line.
        looks_for: its tree in words, for messages.
    """

    facts: DatasetFacts
    looks_for: str

    @abstractmethod
    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Its image trees below a root, the preferred first."""

    @abstractmethod
    def scan(self, tree: Tree, trees: Sequence[ImageTree], annotation: Path | None) -> tuple[Path, DatasetScan]:
        """Check the first of the trees against the annotation.

        Args:
            tree: all folders.
            trees: of ``find``.
            annotation: the spreadsheet to read; ``None`` looks for it.

        Returns:
            The effective root, which all relative paths refer to, and the scan.
        """

    def scan_recordings(
        self, tree: Tree, trees: Sequence[ImageTree], annotation: Path | None
    ) -> tuple[Path, DatasetScan]:
        """Scan for whole recordings, as ``scan``, but with the expressions of every annotation that belongs to them."""
        return self.scan(tree, trees, annotation)


DATASETS: Registry[Adapter] = Registry("datasets", "pipeline.datasets")
