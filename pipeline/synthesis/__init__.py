"""Synthetic micro-expressions on real faces, in the layouts of the real datasets, with ground truth."""
