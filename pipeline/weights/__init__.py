"""Weights of the neural networks: where they come from and where they lie."""
