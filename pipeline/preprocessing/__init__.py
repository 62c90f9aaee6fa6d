"""From clips to a store: plan, workers, journal, commit."""
