"""Several models under one protocol, and what may be said of their differences."""
