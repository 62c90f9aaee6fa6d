"""Raw dataset to store."""
