"""A clip: frames, face, alignment, depth, action units. Computes arrays, knows no store and writes nothing."""
