"""The embedded key provider: one root key in a private file wraps all other keys.

Whoever reads `root.key` and the control database reads everything; losing `root.key` loses everything. It is
therefore never made twice, never replaced by another key, and read only from a file that nobody else can
read. A passphrase may protect the file: then nothing opens without both.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from secure_platform import canonical
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.files import private_directory, replace_private, sync_directory, write_private
from secure_platform.keys.envelope import Envelope
from secure_platform.keys.material import KEY_BYTES, NotPickled
from secure_platform.keys.passphrase import open_under, seal_under
from secure_platform.keys.secret_file import read_secret

ROOT_KEY_FILE: Final = "root.key"
_PROTECTED: Final = b"secure-platform/root-key/v1\n"
_LARGEST: Final = 1024


class LocalKeyProvider(NotPickled):
    """Wraps with AES-256-GCM under the root key; the context is authenticated.

    Args:
        path: The root key's file, for errors.
        root_key: Its 32 bytes.
    """

    name = "local"

    def __init__(self, path: Path, root_key: bytes) -> None:
        self._path = path
        self.root_key = root_key
        self._envelope = Envelope(root_key)

    @classmethod
    def create(cls, directory: Path, passphrase: bytes | None = None) -> Self:
        """Make a new root key.

        Raises:
            UsageError: If the directory has one already.
        """
        path = private_directory(directory) / ROOT_KEY_FILE
        temporary = path.with_name(f".{ROOT_KEY_FILE}.{secrets.token_hex(8)}")
        write_private(temporary, _stored(secrets.token_bytes(KEY_BYTES), passphrase))
        try:
            # Unlike a rename, a link never replaces a key that another process has just made.
            path.hardlink_to(temporary)
        except FileExistsError:
            raise UsageError(f"{path} exists already", "Open it; a root key is never replaced.") from None
        finally:
            temporary.unlink()
        sync_directory(directory)
        return cls.open(directory, passphrase)

    @classmethod
    def open(cls, directory: Path, passphrase: bytes | None = None) -> Self:
        """Read the root key; the passphrase of a file that has none is not needed.

        Raises:
            IntegrityError: If it is missing, or not 32 bytes long.
            UsageError: If its file is not private, not ours, not regular, or a symbolic link, or if the
                passphrase is missing or wrong.
        """
        path = directory / ROOT_KEY_FILE
        return cls(path, _read(path, passphrase))

    def protect(self, passphrase: bytes | None) -> None:
        """Protect the root key's file by another passphrase, or by none."""
        replace_private(self._path, _stored(self.root_key, passphrase))

    def is_protected(self) -> bool:
        """Whether the root key's file needs a passphrase."""
        return _content(self._path).startswith(_PROTECTED)

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """A new 32-byte key, and its wrapped form."""
        plaintext = secrets.token_bytes(KEY_BYTES)
        return plaintext, self.wrap(plaintext, context=context)

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        """Encrypt a secret so that it opens only with this root key and this context."""
        return self._envelope.seal(plaintext, canonical.dumps(dict(context)))

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """Open what `wrap` returned.

        Raises:
            IntegrityError: If it does not authenticate under this root key and this context.
        """
        if not self._envelope.belongs(wrapped):
            raise IntegrityError(
                f"{self._path} is not the root key that a key of this home was wrapped under",
                _restore(self._path),
            )
        return self._envelope.open(wrapped, canonical.dumps(dict(context)), name="A wrapped key")

    def rewrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """The same secret under a fresh nonce: the root key has one version."""
        return self.wrap(self.unwrap(wrapped, context=context), context=context)

    def signer(self, reference: str | None = None) -> None:
        """None: the signing key is one of the ring's, wrapped like every other."""


def _stored(root_key: bytes, passphrase: bytes | None) -> bytes:
    return root_key if passphrase is None else seal_under(passphrase, _PROTECTED, root_key)


def _opened(content: bytes, passphrase: bytes | None, name: str) -> bytes:
    if passphrase is None:
        raise UsageError(
            f"{name} is protected by a passphrase", "Say in the settings where it is: keys.local.passphrase."
        )
    return open_under(passphrase, _PROTECTED, content, name=name)


def _content(path: Path) -> bytes:
    try:
        return read_secret(path, name="The root key", limit=_LARGEST)
    except FileNotFoundError:
        raise IntegrityError(f"The root key {path} is missing", _restore(path)) from None


def _read(path: Path, passphrase: bytes | None) -> bytes:
    content = _content(path)
    if content.startswith(_PROTECTED):
        content = _opened(content, passphrase, f"The root key {path}")
    if len(content) != KEY_BYTES:
        raise IntegrityError(f"The root key {path} does not hold {KEY_BYTES} bytes", _restore(path))
    return content


def _restore(path: Path) -> str:
    return (
        f"Restore {path} from the backup that belongs to this home's control database; "
        "without it the home's data cannot be read."
    )
