"""One fold: initial weights, optimiser, checkpoint, loop."""
