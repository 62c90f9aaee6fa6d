"""Clip classifiers, by name (``registry``), behind one interface (``base``)."""
