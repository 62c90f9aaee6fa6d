"""`mer subset --anonymise`: other names for subjects and clips, and no trace of where they were.

This is pseudonymisation, and no more. Names, paths, source hashes, frame numbers and the text of findings go.
Pixels, depth and measurements stay, and whoever has the original recordings can find a clip again by them;
texture shows the face itself.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.preprocessing.journal import ClipColumns
from pipeline.sharing.clip_copies import Part
from pipeline.sharing.output import new_output, write_durably
from schemas.errors import ConfigError
from schemas.manifest import ClipEntry, Manifest, Provenance

_SECRET_BYTES = 32
_LETTERS = 10  # hex digits of a name: a collision among 10,000 clips has a chance of 1 in 20,000, and is refused


@dataclass(frozen=True)
class Pseudonyms:
    """Names drawn from a secret: the same subject has the same name wherever the same secret is used."""

    secret: bytes

    @classmethod
    def random(cls) -> "Pseudonyms":
        """From a secret that nobody keeps: nobody can repeat or undo the renaming."""
        return cls(secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def from_file(cls, file: Path) -> "Pseudonyms":
        """From the secret in a file, which is drawn now if there is no such file.

        Raises:
            ConfigError: the file holds something else.
        """
        if not file.exists():
            with new_output(file) as unfinished:
                write_durably(unfinished, secrets.token_hex(_SECRET_BYTES).encode() + b"\n")
                unfinished.chmod(0o600)
        try:
            secret = bytes.fromhex(file.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"--key {file}: cannot be read as a secret of pseudonyms ({error})") from error
        if len(secret) != _SECRET_BYTES:
            raise ConfigError(f"--key {file}: expected {_SECRET_BYTES} bytes in hexadecimal, found {len(secret)}")
        return cls(secret)

    @property
    def fingerprint(self) -> str:
        """Tells secrets apart and tells nothing about them: stores with different ones must not be merged."""
        return hashlib.sha256(self.secret).hexdigest()[:16]

    def key(self, key: str) -> str:
        """The new ``dataset/subject/clip``: the dataset stays, since its terms do."""
        dataset, subject, _ = key.split("/")
        return f"{dataset}/p{self._name(f'{dataset}/{subject}')}/c{self._name(key)}"

    def renamed(self, parts: Iterable[Part], manifest: Manifest) -> tuple[list[Part], Manifest]:
        """The clips under their new names, and the manifest without what names anybody.

        Raises:
            ConfigError: two clips or subjects would have the same name; draw another secret.
        """
        renamed, people = {}, dict[str, str]()
        for part in parts:
            key = self.key(part.entry.key)
            old, new = part.entry.key.rpartition("/")[0], key.rpartition("/")[0]
            if key in renamed or people.setdefault(new, old) != old:
                raise ConfigError("two clips or subjects would have the same name; try again, or with another --key")
            renamed[key] = self._renamed(part, key)
        return list(renamed.values()), manifest.model_copy(update={"findings": (), "pseudonyms": self.fingerprint})

    def _renamed(self, part: Part, key: str) -> Part:
        entry, columns = part.entry, part.columns
        first = columns.frame_numbers[0] if columns is not None else None
        return replace(
            part, entry=_anonymous(entry, key, first), columns=_counted(columns), provenance=_nameless(part.provenance)
        )

    def _name(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), "sha256").hexdigest()[:_LETTERS]


def _anonymous(entry: ClipEntry, key: str, first: int | None) -> ClipEntry:
    """Frame numbers, with the labels, would point at a row of the annotation: they count from 1 afterwards."""

    def moved(number: int | None) -> int | None:
        return None if number is None or first is None else number - first + 1

    failure = entry.failure and entry.failure.model_copy(update={"message": "left out"})
    return entry.model_copy(
        update={
            "key": key,
            "source": None,
            "onset": moved(entry.onset),
            "apex": moved(entry.apex),
            "offset": moved(entry.offset),
            "findings": tuple(f.model_copy(update={"clip": key, "message": "left out"}) for f in entry.findings),
            "failure": failure,
            "intervals": tuple(
                one.model_copy(update={phase: moved(getattr(one, phase)) for phase in ("onset", "apex", "offset")})
                for one in entry.intervals
            ),
            "metadata": {},  # anything may stand there, names too
        }
    )


def _counted(columns: ClipColumns | None) -> ClipColumns | None:
    if columns is None:
        return None
    first = columns.frame_numbers[0]
    return columns.model_copy(update={"frame_numbers": tuple(n - first + 1 for n in columns.frame_numbers)})


def _nameless(provenance: Provenance) -> Provenance:
    config = provenance.config.model_copy(update={"subjects": (), "clips": (), "limit": None})
    return provenance.model_copy(update={"config": config, "annotation": None})
