"""The embedded key provider: a root key in a private file wraps all other keys.

Whoever reads `root.key` and the control database reads everything; losing `root.key` loses everything. It is
therefore never made twice, never replaced by an unrelated key, and read only from a file that nobody else can
read. A passphrase may protect the file: then nothing opens without both. When the root key is renewed, the
file keeps the one before it: another process may have wrapped something with that at the same moment.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Self

from secure_platform.control.locks import file_lock
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.files import private_directory, replace_private, sync_directory, write_private
from secure_platform.keys.material import NotPickled
from secure_platform.keys.passphrase import open_under, seal_under
from secure_platform.keys.providers.root_keys import MOST, ROOT_KEY_BYTES, RootKeys
from secure_platform.keys.secret_file import read_secret

ROOT_KEY_FILE: Final = "root.key"
_PROTECTED: Final = b"secure-platform/root-key/v1\n"
_LARGEST: Final = 1024


class LocalKeyProvider(NotPickled):
    """Wraps under the newest root key; safe against a renewal by another process.

    Args:
        path: The file.
        passphrase: Of the file; that of one that has none is not needed.
    """

    name = "local"

    def __init__(self, path: Path, passphrase: bytes | None) -> None:
        self._path = path
        self._passphrase = passphrase
        self._seen = _signature(self._path)
        self._roots = _read(self._path, passphrase)

    @classmethod
    def create(cls, directory: Path, passphrase: bytes | None = None) -> Self:
        """Make a new root key.

        Raises:
            UsageError: If the directory has one already.
        """
        path = private_directory(directory) / ROOT_KEY_FILE
        temporary = path.with_name(f".{ROOT_KEY_FILE}.{secrets.token_hex(8)}")
        write_private(temporary, _stored(RootKeys.new(), passphrase))
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
        """Read the root key.

        Raises:
            IntegrityError: If the file is missing, or does not hold root keys.
            UsageError: If it is not private, not ours, not regular, or a symbolic link, or if the passphrase
                is missing or wrong.
        """
        return cls(directory / ROOT_KEY_FILE, passphrase)

    def root_keys(self) -> bytes:
        """All of them, newest first, for a backup."""
        return self._present().content

    def protect(self, passphrase: bytes | None) -> None:
        """Protect the file by another passphrase, or by none."""
        with self._alone():
            replace_private(self._path, _stored(self._present(), passphrase))
            self._passphrase = passphrase

    def is_protected(self) -> bool:
        """Whether the file needs a passphrase."""
        return _content(self._path).startswith(_PROTECTED)

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Wrap under a new root key from here on; let go of the oldest ones when all is wrapped anew.

        All that is wrapped has to be wrapped anew in the block. After a kill everything opens as before, and
        repeating it finishes.
        """
        with self._alone():
            self._replace(self._present().renewed())
            yield
            self._replace(self._present().shortened())

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """A new 32-byte key, and its wrapped form."""
        plaintext = secrets.token_bytes(ROOT_KEY_BYTES)
        return plaintext, self.wrap(plaintext, context=context)

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        """Encrypt a secret so that it opens only with this root key and this context."""
        return self._present().wrap(plaintext, context=context)

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """Open what `wrap` returned.

        Raises:
            IntegrityError: If it does not authenticate under a root key of the file and this context.
        """
        if not self._roots.opens(wrapped) and not self._present().opens(wrapped):
            raise IntegrityError(
                f"{self._path} is not the root key that a key of this home was wrapped under",
                _restore(self._path),
            )
        return self._roots.unwrap(wrapped, context=context)

    def rewrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """The same secret under the newest root key."""
        return self.wrap(self.unwrap(wrapped, context=context), context=context)

    def signer(self, reference: str | None = None) -> None:
        """None: the signing key is one of the ring's, wrapped like every other."""

    def _present(self) -> RootKeys:
        """Those that are in the file now."""
        signature = _signature(self._path)
        if signature != self._seen:
            self._roots, self._seen = _read(self._path, self._passphrase), signature
        return self._roots

    def _replace(self, roots: RootKeys) -> None:
        replace_private(self._path, _stored(roots, self._passphrase))

    def _alone(self) -> AbstractContextManager[None]:
        return file_lock(self._path.with_name(f".{ROOT_KEY_FILE}.lock"), holder="the root key")


def _stored(roots: RootKeys, passphrase: bytes | None) -> bytes:
    return roots.content if passphrase is None else seal_under(passphrase, _PROTECTED, roots.content)


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


def _read(path: Path, passphrase: bytes | None) -> RootKeys:
    content = _content(path)
    if content.startswith(_PROTECTED):
        content = _opened(content, passphrase, f"The root key {path}")
    if len(content) not in {count * ROOT_KEY_BYTES for count in range(1, MOST + 1)}:
        raise IntegrityError(f"The root key {path} does not hold {ROOT_KEY_BYTES} bytes", _restore(path))
    return RootKeys(content)


def _signature(path: Path) -> tuple[int, ...] | None:
    """Another one after every replacement; None where there is no such file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _restore(path: Path) -> str:
    return (
        f"Put {path} back from a copy, or its keys from their backup: secure-platform keys restore FILE; "
        "without them the home's data cannot be read."
    )
