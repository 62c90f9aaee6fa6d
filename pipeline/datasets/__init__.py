"""Adapters: from a raw dataset as it lies on disk to clips with labels and findings."""

from pipeline.datasets.adapter import DATASETS, Adapter
from pipeline.datasets.detection import scan_dataset

__all__ = ["DATASETS", "Adapter", "scan_dataset"]
