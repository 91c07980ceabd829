"""Root keys, newest first: the newest wraps, those before it only open what has not been wrapped anew yet."""

import secrets
from collections.abc import Mapping
from typing import Final, Self

from secure_platform import canonical
from secure_platform.keys.envelope import Envelope
from secure_platform.keys.material import KEY_BYTES, NotPickled

ROOT_KEY_BYTES: Final = KEY_BYTES
KEPT: Final = 2
MOST: Final = KEPT + 1


class RootKeys(NotPickled):
    """AES-256-GCM under 32-byte keys; the context is authenticated.

    Args:
        content: The keys, one after the other.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._envelopes = [Envelope(key) for key in _split(content)]

    @classmethod
    def new(cls) -> Self:
        """A random one."""
        return cls(secrets.token_bytes(ROOT_KEY_BYTES))

    def renewed(self) -> Self:
        """A new one before these; only these while a renewal has not finished."""
        if len(self._envelopes) == MOST:
            return self
        return type(self)(secrets.token_bytes(ROOT_KEY_BYTES) + self.content)

    def shortened(self) -> Self:
        """The newest, and the one before it."""
        return type(self)(self.content[: KEPT * ROOT_KEY_BYTES])

    def opens(self, wrapped: bytes) -> bool:
        """Whether this was wrapped under one of them."""
        return any(envelope.belongs(wrapped) for envelope in self._envelopes)

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        """Encrypt under the newest."""
        return self._envelopes[0].seal(plaintext, canonical.dumps(dict(context)))

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """Open what one of them wrapped.

        Raises:
            IntegrityError: If it does not authenticate under it and this context.
        """
        fitting = next((each for each in self._envelopes if each.belongs(wrapped)), self._envelopes[0])
        return fitting.open(wrapped, canonical.dumps(dict(context)), name="A wrapped key")


def _split(content: bytes) -> list[bytes]:
    return [content[start : start + ROOT_KEY_BYTES] for start in range(0, len(content), ROOT_KEY_BYTES)]
