"""Divide, combine, compare, pack and cite stores; nothing here decodes or compresses a pixel."""
