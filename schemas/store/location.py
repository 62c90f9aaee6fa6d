"""Where a store lies: at a path, or at a URL that fsspec knows (``s3://``, ``gs://``, ``sftp://``, ``https://``)."""

import re
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ConfigError, hide_credentials

_URL = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True)
class StoreUrl:
    """A URL of a store, without a slash at its end. It is printed without user, password or token."""

    url: str

    def __str__(self) -> str:
        return hide_credentials(self.url)

    def __repr__(self) -> str:
        return f"StoreUrl({str(self)!r})"

    @property
    def scheme(self) -> str:
        """What stands before ``://``."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """Its last part, as of a path."""
        return str(self).rpartition("/")[2]

    @property
    def has_credentials(self) -> bool:
        """Whether a user, password or token stands in it."""
        return str(self) != self.url

    @property
    def is_packed(self) -> bool:
        """Whether it is the zip file of a packed store, as its name says."""
        return self.name.lower().endswith(".zip")

    def absolute(self) -> "StoreUrl":
        """Itself: a URL is the same from everywhere."""
        return self


StoreLocation = Path | StoreUrl


def located(place: StoreLocation | str) -> StoreLocation:
    """What a user has typed: a path, or a URL. ``file://`` is a path.

    Raises:
        ConfigError: a URL of nothing, or one that names cannot be appended to.
    """
    if not isinstance(place, str):
        return place
    if (match := _URL.fullmatch(place)) is None:
        return Path(place)
    url = f"{match['scheme'].lower()}://{match['rest'].rstrip('/')}"
    if not match["rest"].strip("/") or not url.isprintable() or set(url) & set("?#"):
        raise ConfigError(f"{StoreUrl(url)}: expected the URL of a store's folder or zip file, without ? and #")
    if url.startswith("file://"):
        return Path(url.removeprefix("file://"))
    return StoreUrl(url)
