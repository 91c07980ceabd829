"""A provider wraps key material and never lets its own key out; the ring works the same above any of them.

The ring asks it once per process for each key version: never per row, never per snapshot. A context (names
and values, at most 1 KiB) is authenticated with what is wrapped: it opens under no other. What a provider has
wrapped is opened once before it takes the place of anything: what does not open again is a key that is lost.
"""

import hmac
from collections.abc import Mapping
from typing import Protocol

from secure_platform.errors import IntegrityError
from secure_platform.keys.signing import Signature


class RemoteSigner(Protocol):
    """An ECDSA P-256 key that signs inside its provider and never leaves it.

    Attributes:
        reference: What the provider calls this version of the key; kept beside the public half.
        public_key_pem: Its public half (SPKI PEM).
    """

    reference: str
    public_key_pem: str

    def sign(self, message: bytes) -> Signature:
        """Sign the message (ECDSA P-256 with SHA-256, DER)."""
        ...


class KeyProvider(Protocol):
    """Wraps and unwraps small secrets (≤ 4 KiB), bound to a context.

    Attributes:
        name: Stored beside what it wrapped, e.g. `local`, `vault`, `aws`.
    """

    name: str

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """32 fresh random bytes, and what `wrap` would return for them."""
        ...

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        """Encrypt the secret so that it opens only with this provider's key and this context."""
        ...

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """Open what `wrap` returned.

        Raises:
            IntegrityError: If it does not authenticate under this provider's key and this context.
        """
        ...

    def rewrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """Wrap the same secret under the newest version of this provider's key, inside it where it can.

        Raises:
            IntegrityError: If it does not authenticate under this provider's key and this context.
        """
        ...

    def signer(self, reference: str | None = None) -> RemoteSigner | None:
        """The signing key that this provider holds; None when the ring keeps its own.

        Args:
            reference: Of the version that signs; None for the provider's newest.
        """
        ...


def require_same(
    provider: KeyProvider, wrapped: bytes, plaintext: bytes, *, context: Mapping[str, str]
) -> None:
    """Open what a provider has just wrapped.

    Raises:
        IntegrityError: If it holds something else, or does not open.
    """
    if not hmac.compare_digest(provider.unwrap(wrapped, context=context), plaintext):
        raise IntegrityError(
            f"The key provider {provider.name!r} wrapped another key than it was to wrap",
            "Nothing was changed. Look whether this is the service that it should be.",
        )
