"""What the pipeline and the trainer share: models of clips, labels, configs and manifests, store layout, errors."""
