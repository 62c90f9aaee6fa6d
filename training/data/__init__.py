"""Stored clips as batches: read, sampled, normalised, augmented."""
