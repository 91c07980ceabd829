"""A provider wraps key material and never lets its own key out; the ring works the same above any of them."""

from collections.abc import Mapping
from typing import Protocol


class KeyProvider(Protocol):
    """Wraps and unwraps small secrets (≤ 4 KiB), bound to a context."""

    name: str

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        """Encrypt the secret so that it opens only with this provider's key and this context."""
        ...

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """Open what `wrap` returned.

        Raises:
            IntegrityError: If it does not authenticate under this provider's key and this context.
        """
        ...
