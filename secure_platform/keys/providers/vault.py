"""Vault's Transit engine wraps our keys; its key never leaves Vault.

The context is bound as associated data. Rewrapping passes through this process: Vault's own `rewrap` takes
no associated data.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from secure_platform import canonical
from secure_platform.errors import IntegrityError, ServiceError
from secure_platform.key_settings import VAULT
from secure_platform.keys.material import NotPickled
from secure_platform.keys.providers.p256 import p256_pem
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.keys.signing import Signature, keyid_of

_BITS: Final = 256
_WRAPPED: Final = re.compile(rb"vault:v[1-9][0-9]{0,8}:[A-Za-z0-9+/=]+")


class VaultKeyProvider(NotPickled):
    """Wraps with a key of the Transit engine.

    Args:
        session: The login; its settings name mount and keys.
    """

    name = VAULT

    def __init__(self, session: VaultSession) -> None:
        self._session = session
        self._settings = session.settings
        self._signers: dict[str, VaultSigner] = {}

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """A new 32-byte key that Vault made, and its wrapped form."""
        body = {"bits": _BITS, "associated_data": _associated(context)}
        data = self._transit("datakey/plaintext", body)
        return _decoded(data.get("plaintext")), str(data.get("ciphertext")).encode()

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        """Encrypt a secret under the newest version of Vault's key, so that it opens in this context only."""
        body = {"plaintext": base64.b64encode(plaintext).decode(), "associated_data": _associated(context)}
        return str(self._transit("encrypt", body).get("ciphertext")).encode()

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """Open what `wrap` returned.

        Raises:
            IntegrityError: If it does not authenticate under Vault's key and this context.
            ServiceError: If Vault cannot be reached or refuses.
        """
        if not _WRAPPED.fullmatch(wrapped):
            raise IntegrityError("A wrapped key is not one of Vault's", "Restore the control database.")
        body = {"ciphertext": wrapped.decode(), "associated_data": _associated(context)}
        return _decoded(self._transit("decrypt", body).get("plaintext"))

    def rewrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """The same secret under the newest version of Vault's key."""
        return self.wrap(self.unwrap(wrapped, context=context), context=context)

    def signer(self, reference: str | None = None) -> "VaultSigner | None":
        """A version of Vault's signing key; None when the settings name none."""
        if reference is None:
            newest = self._settings.signing_key
            return None if newest is None else VaultSigner(self._session, newest)
        if reference not in self._signers:
            self._signers[reference] = VaultSigner(self._session, reference)
        return self._signers[reference]

    def _transit(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        path = f"{self._settings.transit_mount}/{operation}/{self._settings.transit_key}"
        return _data(self._session.write(path, body))


class VaultSigner(NotPickled):
    """One version of an ECDSA P-256 key that Vault holds.

    Args:
        session: The login.
        reference: `KEY:VERSION`, or `KEY` for its newest version.

    Raises:
        ServiceError: If Vault cannot be reached or refuses, or its key is of another kind.
    """

    def __init__(self, session: VaultSession, reference: str) -> None:
        self._session = session
        self._mount = session.settings.transit_mount
        self._key, _, version = reference.partition(":")
        about = _data(session.read(f"{self._mount}/keys/{self._key}"))
        try:
            self._version = int(version or about["latest_version"])
            public = dict(about["keys"]).get(str(self._version))
            is_p256 = about["type"] == "ecdsa-p256"
        except (KeyError, TypeError, ValueError):
            raise _not_vault() from None
        if not is_p256 or not isinstance(public, dict):
            raise ServiceError(
                f"Vault's key {self._key!r} has no version {self._version} that signs with ECDSA P-256",
                "Make it with type=ecdsa-p256, or correct vault.signing_key.",
            )
        self.reference = f"{self._key}:{self._version}"
        self.public_key_pem = p256_pem(
            str(public.get("public_key")).encode(), name=f"Vault's key {self._key!r}"
        )

    def sign(self, message: bytes) -> Signature:
        """ECDSA P-256 signature over SHA-256 of the message, DER."""
        body = {
            "input": base64.b64encode(message).decode(),
            "hash_algorithm": "sha2-256",
            "marshaling_algorithm": "asn1",
            "key_version": self._version,
        }
        given = str(_data(self._session.write(f"{self._mount}/sign/{self._key}", body)).get("signature"))
        return Signature(keyid_of(self.public_key_pem), _decoded(given.rpartition(":")[2]))


def _associated(context: Mapping[str, str]) -> str:
    return base64.b64encode(canonical.dumps(dict(context))).decode()


def _data(answer: Mapping[str, Any]) -> dict[str, Any]:
    data = answer.get("data")
    if not isinstance(data, dict):
        raise _not_vault()
    return data


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise _not_vault()
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise _not_vault() from None


def _not_vault() -> ServiceError:
    return ServiceError("An answer is not of Vault's form", "Look whether vault.address is a Vault server.")
