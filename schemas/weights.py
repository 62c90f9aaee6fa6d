"""Identity of model weights."""

from schemas.model import Model


class Weights(Model):
    """Which weights made a store: repository on the hub, its commit where it is known, file and its sha256.

    The sha256 is the identity; ``revision`` is ``None`` when nothing says which commit the file is from.
    """

    name: str
    repository: str
    revision: str | None
    file: str
    sha256: str
