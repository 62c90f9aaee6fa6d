"""Training: a config, its folds, and the folder that they leave."""
