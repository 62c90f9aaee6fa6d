"""What trained models are used for: predictions for new clips, and files for other programs."""
