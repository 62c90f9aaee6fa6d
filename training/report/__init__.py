"""The report of a training run: one page that stands alone, its figures as files, its tables."""
