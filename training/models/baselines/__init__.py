"""The models that MADV-Net is compared with, one file a model or family; each registers itself."""
