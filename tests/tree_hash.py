"""One hash for everything below a folder."""

import hashlib
from pathlib import Path


def tree_hash(root: Path) -> str:
    """sha256 over relative path and content of every file, so that equal hashes mean the same bytes everywhere."""
    listing = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        listing.update(path.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return listing.hexdigest()
