"""Synthetic micro-expressions on real faces, written as the datasets lie on disk."""
