"""A checkpoint is a C2SP signed note over (origin, size, root); what is not signed by our key is not read.

Sources: c2sp.org/signed-note (Ed25519, type 0x01), c2sp.org/tlog-checkpoint.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from secure_platform.audit.tree import HASH_BYTES
from secure_platform.errors import IntegrityError, UsageError

ED25519: Final = b"\x01"
KEY_ID_BYTES: Final = 4
MAX_NOTE_CHARACTERS: Final = 65_536
SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
FIX: Final = "Use a checkpoint that was exported with a release, unchanged, from this log."


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: its first `size` entries hash to `root`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class NoteKey:
    """A key name and its 32-byte Ed25519 public key; together they decide whose signature counts."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        """Refuse a name that a note cannot carry."""
        require_note_name(self.name)

    @property
    def key_id(self) -> bytes:
        """The four bytes that lead each signature of this key."""
        named = self.name.encode() + b"\n" + ED25519 + self.public_key
        return hashlib.sha256(named).digest()[:KEY_ID_BYTES]

    def attach(self, text: str, signature: bytes) -> str:
        """The signed note: `text`, a blank line, one signature line."""
        encoded = base64.b64encode(self.key_id + signature).decode()
        return f"{text}\n\u2014 {self.name} {encoded}\n"

    def open(self, note: str) -> str:
        """The text of a note that this key signed; signatures of other keys are ignored.

        Raises:
            IntegrityError: If the note is malformed, or this key's signature is missing or wrong.
        """
        text, signatures = _split(note)
        ours = [s[KEY_ID_BYTES:] for name, s in signatures if name == self.name and s[:4] == self.key_id]
        if not ours:
            raise IntegrityError(f"The checkpoint is not signed by the key {self.name} of this log", FIX)
        signed = text.encode("utf-8", "surrogatepass")
        for signature in ours:
            try:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, signed)
            except InvalidSignature:
                raise IntegrityError(f"The checkpoint's signature by {self.name} is not valid", FIX) from None
        return text


def signing_key(note: str, keys: Sequence[NoteKey]) -> NoteKey:
    """The first of these keys whose signature the note claims to carry; else the first of them."""
    claimed = {(name, signature[:KEY_ID_BYTES]) for name, signature in _split(note)[1]}
    return next((key for key in keys if (key.name, key.key_id) in claimed), keys[0])


def read_checkpoint(note: str, *, origin: str, key: NoteKey) -> Checkpoint:
    """Verify a signed checkpoint and parse it.

    Raises:
        IntegrityError: If it is malformed, of another log, or not signed by `key`.
    """
    lines = key.open(note).split("\n")
    if len(lines) != 4 or not SIZE.fullmatch(lines[1]):  # noqa: PLR2004 - three lines and the last line's end
        raise IntegrityError("The checkpoint does not consist of origin, size and root", FIX)
    if lines[0] != origin:
        raise IntegrityError("The checkpoint belongs to another log", FIX)
    root = _decode(lines[2])
    if len(root) != HASH_BYTES:
        raise IntegrityError("The checkpoint's root is not a SHA-256 hash", FIX)
    return Checkpoint(origin, int(lines[1]), root)


def require_note_name(name: str) -> None:
    """Refuse an origin or key name that is empty or holds a space, a plus or a control character.

    Raises:
        UsageError: If the name cannot be written into a signed note.
    """
    if not name or not name.isprintable() or "+" in name or any(c.isspace() for c in name):
        raise UsageError(
            "The audit log's name is empty or holds a space, a plus or a control character",
            "Name it like a URL without its scheme, such as example.org/audit.",
        )


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > MAX_NOTE_CHARACTERS or any(c < " " and c != "\n" for c in note):
        raise IntegrityError("The checkpoint is not a signed note", FIX)
    head, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise IntegrityError("The checkpoint is not a signed note", FIX)
    return f"{head}\n", [_signature(line) for line in tail[:-1].split("\n")]


def _signature(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "\u2014" or not name or not encoded:
        raise IntegrityError("The checkpoint holds a malformed signature line", FIX)
    return name, _decode(encoded)


def _decode(encoded: str) -> bytes:
    """Strict base64: one text per value, or two readers could disagree about what was signed."""
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if base64.b64encode(decoded).decode() != encoded:
        raise IntegrityError("The checkpoint holds malformed base64", FIX)
    return decoded
