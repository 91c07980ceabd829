"""Every other room gets its keys here, each for one purpose.

The ring looks on every use whether the database has changed, and reads the states of keys again if it has: a
key that was disabled elsewhere stops working at once. Material and keys derived from it are kept in memory.
"""

import hmac
import re
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, insert

from secure_platform import canonical
from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import key_version
from secure_platform.control.witness import Kept
from secure_platform.errors import IntegrityError
from secure_platform.keys.catalog import (
    ALGORITHMS,
    DATA,
    DIGEST,
    LOG,
    MAC,
    SIGN,
    TOKEN,
    KeyState,
    KeyVersion,
    StoredKey,
    newest,
    readable,
    stored_keys,
)
from secure_platform.keys.envelope import Envelope, commitment
from secure_platform.keys.material import KEY_BYTES, DataKey, NotPickled, TokenKey, derive, hmac_sha256
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.signing import LogSigner, Signature, SigningKey, keyid_of
from secure_platform.keys.wrapped import WrappedDataKey

_MAC: Final = re.compile(r"m([1-9][0-9]{0,8}):([0-9a-f]{64})")
_IDENTIFIER_HEX: Final = 32
_VERSION: Final = struct.Struct(">I")


class KeyRing(NotPickled):
    """The keys of one home.

    Args:
        provider: Wraps their material.
        database: Holds the wrapped material and the states.
    """

    def __init__(self, provider: KeyProvider, database: ControlDatabase) -> None:
        self._provider = provider
        self._database = database
        self._material: dict[StoredKey, bytes] = {}
        self._derived: dict[tuple[bytes, str], bytes] = {}
        self._stored = Kept[str, Sequence[StoredKey]](database.state)

    def initialise(self) -> list[str]:
        """Create version 1 of every key that is missing, and return their names.

        Keys that exist are opened first: a home whose root key was lost is refused, not given new keys.

        Raises:
            IntegrityError: If a key that exists does not open.
        """
        with self._database.write() as connection:
            existing = {name: stored_keys(connection, name) for name in ALGORITHMS}
            for keys in existing.values():
                if keys and keys[-1].about.state == KeyState.ACTIVE:
                    self._unwrap(keys[-1])
            missing = [name for name, keys in existing.items() if not keys]
            for name in missing:
                self._create(connection, name)
        return missing

    def new_data_key(self, context: Mapping[str, str]) -> DataKey:
        """A fresh random 32-byte key, and its wrapped form, which opens only under the same context."""
        stored, material = self._current(DATA)
        plaintext = secrets.token_bytes(KEY_BYTES)
        header = WrappedDataKey(DATA, stored.about.version, commitment(plaintext))
        sealed = Envelope(material).seal(plaintext, header.associated(context))
        return DataKey(plaintext, replace(header, sealed=sealed).encode())

    def open_data_key(self, wrapped: str, context: Mapping[str, str]) -> bytes:
        """The key that `new_data_key` made under this context.

        Raises:
            IntegrityError: If a byte or the context differs, or the wrapping key is unknown or disabled.
        """
        parsed = WrappedDataKey.parse(wrapped)
        if parsed.name != DATA:
            raise IntegrityError(
                "A wrapped data key names a wrapping key that is not one", "Restore its file from a copy."
            )
        material = self._existing(DATA, parsed.version)
        plaintext = Envelope(material).open(
            parsed.sealed, parsed.associated(context), name="A wrapped data key"
        )
        if not hmac.compare_digest(commitment(plaintext), parsed.commitment):
            raise IntegrityError(
                "A wrapped data key holds another key than it says", "Restore its file from a copy."
            )
        return plaintext

    def seal_secret(self, purpose: str, context: Mapping[str, str], secret: bytes) -> bytes:
        """Encrypt a short secret for the control database: key version (4, big-endian) ‖ sealed secret.

        Args:
            purpose: What kind of secret it is; every kind has its own key.
            context: Names the row that it belongs to; authenticated, not stored.
            secret: Any bytes.
        """
        stored, material = self._current(DATA)
        header = _VERSION.pack(stored.about.version)
        envelope = Envelope(derive(material, f"secret|{purpose}"))
        return header + envelope.seal(secret, header + canonical.dumps(dict(context)))

    def open_secret(self, purpose: str, context: Mapping[str, str], sealed: bytes) -> bytes:
        """What `seal_secret` encrypted for this purpose and context.

        Raises:
            IntegrityError: If a byte, the purpose or the context differs, or its key is unknown or disabled.
        """
        header = sealed[: _VERSION.size]
        if len(header) < _VERSION.size:
            raise IntegrityError(
                "A secret in the control database was cut off", "Restore the database from a copy."
            )
        material = self._existing(DATA, *_VERSION.unpack(header))
        return Envelope(derive(material, f"secret|{purpose}")).open(
            sealed[_VERSION.size :],
            header + canonical.dumps(dict(context)),
            name="A secret in the control database",
        )

    def mac(self, purpose: str, message: bytes) -> str:
        """HMAC-SHA-256 (RFC 2104) under a key of this purpose, as `m<version>:<64 hex>`."""
        stored, material = self._current(MAC)
        return f"m{stored.about.version}:{self._mac(material, purpose, message)}"

    def verify_mac(self, purpose: str, message: bytes, mac: str) -> bool:
        """Whether this is the MAC of the message for this purpose; malformed and unknown ones are just wrong.

        Raises:
            IntegrityError: If the MAC names a version that is disabled or destroyed.
        """
        parsed = _MAC.fullmatch(mac)
        if parsed is None:
            return False
        version = int(parsed[1])
        keys = self._keys(MAC)
        if version not in {key.about.version for key in keys}:
            return False
        material = self._unwrap(readable(keys, MAC, version))
        return hmac.compare_digest(self._mac(material, purpose, message), parsed[2])

    def digest_key(self, purpose: str) -> bytes:
        """32 bytes for the keyed digests of one purpose."""
        return derive(self._current(DIGEST)[1], f"digest|{purpose}")

    def identify(self, identifier: str) -> str:
        """The keyed hash that stands for an identifier in the audit log, `p:<32 hex>`."""
        key = self._derive(self._current(DIGEST)[1], "identify")
        return f"p:{hmac_sha256(key, identifier.encode()).hex()[:_IDENTIFIER_HEX]}"

    def token_key(self, domain: str, version: int | None = None) -> TokenKey:
        """The key of a token domain, of the current token key or of the given version.

        Raises:
            IntegrityError: If the version is unknown, disabled or destroyed.
        """
        if version is None:
            stored, material = self._current(TOKEN)
            version = stored.about.version
        else:
            material = self._existing(TOKEN, version)
        return TokenKey(version, derive(material, f"token|{domain}"))

    def token_version(self) -> int:
        """The version that new tokens are made with."""
        return newest(self._keys(TOKEN), TOKEN).about.version

    def sign(self, message: bytes) -> Signature:
        """ECDSA P-256 signature of the current signing key."""
        return self._signing_key(newest(self._keys(SIGN), SIGN)).sign(message)

    def verify(self, message: bytes, signature: bytes, keyid: str) -> None:
        """Check a signature against one of this home's own keys.

        Raises:
            IntegrityError: If the key is not ours, or disabled, or the signature does not fit.
        """
        self._own_signing_key(keyid).verify(message, signature)

    def public_key_pem(self, keyid: str) -> str:
        """The public half (SPKI PEM) of one of this home's own signing keys, for outside verifiers.

        Raises:
            IntegrityError: If the key is not ours, or disabled.
        """
        return self._own_signing_key(keyid).public_key_pem

    def log_signer(self, name: str) -> LogSigner:
        """What signs the audit log's checkpoints, under this C2SP key name."""
        return LogSigner(name, self._current(LOG)[1])

    def versions(self) -> list[KeyVersion]:
        """Every version of every key, without material."""
        with self._database.read() as connection:
            return [key.about for key in stored_keys(connection)]

    def _keys(self, name: str) -> Sequence[StoredKey]:
        def read() -> Sequence[StoredKey]:
            with self._database.read() as connection:
                return stored_keys(connection, name)

        return self._stored.get(name, read)

    def _mac(self, material: bytes, purpose: str, message: bytes) -> str:
        return hmac_sha256(self._derive(material, f"mac|{purpose}"), message).hex()

    def _derive(self, material: bytes, purpose: str) -> bytes:
        """Kept, for purposes that are few and asked for again and again."""
        key = self._derived.get((material, purpose))
        if key is None:
            key = self._derived[material, purpose] = derive(material, purpose)
        return key

    def _current(self, name: str) -> tuple[StoredKey, bytes]:
        stored = newest(self._keys(name), name)
        return stored, self._unwrap(stored)

    def _existing(self, name: str, version: int) -> bytes:
        return self._unwrap(readable(self._keys(name), name, version))

    def _unwrap(self, stored: StoredKey) -> bytes:
        # The whole row is the cache's key: a row that was changed underneath is unwrapped, and refused, anew.
        material = self._material.get(stored)
        if material is None:
            if stored.provider != self._provider.name:
                raise IntegrityError(
                    f"{stored.title} is wrapped by provider {stored.provider!r}, not {self._provider.name!r}",
                    f"Open this home with the key provider {stored.provider!r}.",
                )
            if stored.wrapped is None or stored.about.algorithm != ALGORITHMS.get(stored.about.name):
                raise IntegrityError(
                    f"{stored.title} has no material of its algorithm", "Restore the control database."
                )
            material = self._provider.unwrap(stored.wrapped, context=stored.context)
            self._material[stored] = material
        return material

    def _signing_key(self, stored: StoredKey) -> SigningKey:
        key = SigningKey(self._unwrap(stored))
        if key.public_key_pem != stored.public_key:
            raise IntegrityError(
                f"The public half of {stored.title} was changed", "Restore the control database."
            )
        return key

    def _own_signing_key(self, keyid: str) -> SigningKey:
        keys = self._keys(SIGN)
        for key in keys:
            if key.public_key is not None and keyid_of(key.public_key) == keyid:
                return self._signing_key(readable(keys, SIGN, key.about.version))
        raise IntegrityError(
            "A signature names a key that is not one of this home's signing keys",
            "Verify it in the home that signed it.",
        )

    def _create(self, connection: Connection, name: str) -> None:
        material = SigningKey.generate() if name == SIGN else secrets.token_bytes(KEY_BYTES)
        new = StoredKey(
            KeyVersion(name, 1, ALGORITHMS[name], KeyState.ACTIVE, utc_now()),
            self._provider.name,
            wrapped=None,
            public_key=SigningKey(material).public_key_pem if name == SIGN else None,
        )
        connection.execute(
            insert(key_version).values(
                name=name,
                version=new.about.version,
                algorithm=new.about.algorithm,
                state=new.about.state,
                provider=new.provider,
                wrapped=self._provider.wrap(material, context=new.context),
                public_key=new.public_key,
                created_at=new.about.created_at,
            )
        )
