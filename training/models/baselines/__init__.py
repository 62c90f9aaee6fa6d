"""The models that MADV-Net is compared with, one file a model or family.

A file's builders take ``classes, frames, size, action_units`` and the fields of its config. Beside them it may have,
for all its models, what ``training.models.registry`` reads: ``FAST_OPTIONS``, ``NATIVE_RECIPE``,
``PUBLISHED_WEIGHTS`` and ``ABLATIONS``.
"""
