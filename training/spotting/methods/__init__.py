"""Methods of spotting, one module or package each; each registers itself."""
