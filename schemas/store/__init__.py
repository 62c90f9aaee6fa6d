"""Reading a store, wherever it lies."""
