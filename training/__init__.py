"""Store to an honest result."""
