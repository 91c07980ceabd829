"""Every other room gets its keys here, each for one purpose.

The ring looks on every use whether the database has changed, and reads the states of keys again if it has: a
key that was disabled elsewhere stops working at once. Material and keys derived from it are kept in memory.
"""

import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from secure_platform import canonical
from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.errors import GateRefusedError, IntegrityError
from secure_platform.keys.algorithms import require_making
from secure_platform.keys.book_states import BookStates
from secure_platform.keys.catalog import (
    ALGORITHMS,
    CELL,
    DATA,
    DIGEST,
    LOG,
    MAC,
    SIGN,
    SINGLE,
    TOKEN,
    StoredKey,
    kind_of,
    name_of_domain,
    newest,
    readable,
)
from secure_platform.keys.envelope import Envelope, commitment
from secure_platform.keys.inventory import Inventory
from secure_platform.keys.lifecycle import Lifecycle
from secure_platform.keys.log_key import RingLogSigner, identity
from secure_platform.keys.making import make_version
from secure_platform.keys.material import (
    KEY_BYTES,
    MAC_TEXT,
    SEALED_VERSION,
    CellKey,
    DataKey,
    DigestKey,
    TokenKey,
    hmac_sha256,
    random_key,
)
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.rows import KeyLog
from secure_platform.keys.signing import Signature, keyid_of, verify_pem
from secure_platform.keys.stored_tokens import StoredTokens
from secure_platform.keys.subjects import DomainPersons, SubjectKeys
from secure_platform.keys.wrapped import WrappedDataKey

RING: Final = "service:key-ring"
_IDENTIFIER_HEX: Final = 32


class KeyRing(Inventory):
    """The keys of one home.

    Args:
        provider: Wraps their material.
        database: Holds the wrapped material and the states.
        log: Witness of the states; it is signed by the ring itself, so it may open later.
        fips: Whether only algorithms that FIPS 140-3 approves may be used.
    """

    def __init__(
        self, provider: KeyProvider, database: ControlDatabase, log: KeyLog, *, fips: bool = False
    ) -> None:
        super().__init__(provider, database, log, fips=fips)
        self._subjects = SubjectKeys(database, self._rows, self._opened, self._uses)
        self.stored_tokens = StoredTokens(database, BookStates(log, self._rows.witness))
        self.lifecycle = Lifecycle(self._rows, self._opened, self._subjects, database)

    def initialise(self) -> list[str]:
        """Create version 1 of every missing key that is not a domain's own, and return their names.

        Keys that exist are opened first: a home whose root key was lost is refused, not given new keys.

        Raises:
            IntegrityError: If a key that exists does not open, or was deleted.
        """
        created: list[str] = []
        if not self._rows.all():
            new = [self._new(name) for name in SINGLE]
            if self._rows.write_first(new):
                created = [row.about.name for row in new]
        if self._rows.is_silent():
            self._rows.announce(self._rows.all(), actor=RING)
        for name in SINGLE:
            if not self._rows.of(name):
                self._make(name)
                created.append(name)
        return created

    def adopt(self, keys: Sequence[StoredKey]) -> bool:
        """Begin with these keys, unless there are some already; returns whether it did.

        Args:
            keys: In versions, wrapped by this ring's provider, without their seals.

        Raises:
            IntegrityError: If no MAC key among them is active.
        """
        return self._rows.write_first(keys)

    def new_data_key(self, context: Mapping[str, str]) -> DataKey:
        """A fresh random 32-byte key, and its wrapped form, which opens only under the same context."""
        stored = self._newest(DATA)
        self._uses.take(stored)
        plaintext = random_key()
        header = WrappedDataKey(DATA, stored.about.version, commitment(plaintext))
        envelope = Envelope(self._opened.material(stored))
        sealed = envelope.seal(plaintext, header.associated(context))
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
        envelope = Envelope(self._opened.material(self._readable(DATA, parsed.version)))
        plaintext = envelope.open(parsed.sealed, parsed.associated(context), name="A wrapped data key")
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
        stored = self._newest(DATA)
        self._uses.take(stored)
        header = SEALED_VERSION.pack(stored.about.version)
        envelope = self._opened.envelope(stored, f"secret|{purpose}")
        return header + envelope.seal(secret, header + canonical.dumps(dict(context)))

    def open_secret(self, purpose: str, context: Mapping[str, str], sealed: bytes) -> bytes:
        """What `seal_secret` encrypted for this purpose and context.

        Raises:
            IntegrityError: If a byte, the purpose or the context differs, or its key is unknown or disabled.
        """
        header = sealed[: SEALED_VERSION.size]
        if len(header) < SEALED_VERSION.size:
            raise IntegrityError(
                "A secret in the control database was cut off", "Restore the database from a copy."
            )
        stored = self._readable(DATA, *SEALED_VERSION.unpack(header))
        return self._opened.envelope(stored, f"secret|{purpose}").open(
            sealed[SEALED_VERSION.size :],
            header + canonical.dumps(dict(context)),
            name="A secret in the control database",
        )

    def mac(self, purpose: str, message: bytes) -> str:
        """HMAC-SHA-256 (RFC 2104) under a key of this purpose, as `m<version>:<64 hex>`."""
        stored = self._newest(MAC)
        return f"m{stored.about.version}:{self._mac(stored, purpose, message)}"

    def verify_mac(self, purpose: str, message: bytes, mac: str) -> bool:
        """Whether this is the MAC of the message for this purpose; malformed and unknown ones are just wrong.

        Raises:
            IntegrityError: If the MAC names a version that is disabled or destroyed.
        """
        parsed = MAC_TEXT.fullmatch(mac)
        if parsed is None:
            return False
        version = int(parsed[1])
        keys = self._rows.of(MAC)
        if version not in {key.about.version for key in keys}:
            return False
        return hmac.compare_digest(self._mac(readable(keys, MAC, version), purpose, message), parsed[2])

    def digest_key(self, purpose: str, version: int | None = None) -> DigestKey:
        """The key for the digests of one purpose, of the current digest key or of the given version.

        Raises:
            IntegrityError: If the version is unknown, disabled or destroyed.
        """
        stored = self._newest(DIGEST) if version is None else self._readable(DIGEST, version)
        return DigestKey(stored.about.version, self._opened.derived(stored, f"digest|{purpose}"))

    def identify(self, identifier: str) -> str:
        """The keyed hash that stands for an identifier in the audit log, `p:<32 hex>`."""
        return self._identity(self._newest(DIGEST), identifier)

    def identifiers(self, identifier: str) -> list[str]:
        """Every keyed hash that may stand for it: that of `identify`, then those of older digest keys."""
        newest_first = reversed(self._rows.of(DIGEST))
        return [self._identity(key, identifier) for key in newest_first if key.about.readable]

    def token_key(self, domain: str, version: int | None = None) -> TokenKey:
        """The key of a token domain, its current one or the given version; the first is made when needed.

        Raises:
            IntegrityError: If the version is unknown, disabled or destroyed.
        """
        stored = self._of_domain(TOKEN, domain, version)
        return TokenKey(stored.about.version, self._opened.derived(stored, f"token|{domain}"))

    def token_version(self, domain: str) -> int:
        """The version that new tokens or cells of a plan's domain are made with; 1 before its key is made.

        Raises:
            IntegrityError: If its newest version is not active.
            UsageError: If the settings do not allow its algorithm.
        """
        name = name_of_domain(domain)
        self.require(ALGORITHMS[kind_of(name)])
        keys = self._rows.of(name)
        return newest(keys, name).about.version if keys else 1

    def cell_key(self, domain: str, version: int | None = None) -> CellKey:
        """The key that encrypts the cells of a domain, as `token_key`."""
        stored = self._of_domain(CELL, domain, version)
        return CellKey(stored.about.version, self._opened.derived(stored, f"cell|{domain}", 2 * KEY_BYTES))

    def sign(self, message: bytes) -> Signature:
        """ECDSA P-256 signature of the current signing key.

        Raises:
            IntegrityError: If the provider that holds the key signs with another one.
        """
        stored = self._newest(SIGN)
        public_key = stored.about.public_key or ""
        signature = self._opened.sign(stored, message)
        verify_pem(public_key, message, signature.value)
        return Signature(keyid_of(public_key), signature.value)

    def verify(self, message: bytes, signature: bytes, keyid: str) -> None:
        """Check a signature against one of this home's own keys.

        Raises:
            IntegrityError: If the key is not ours, or disabled, or the signature does not fit.
        """
        verify_pem(self.public_key_pem(keyid), message, signature)

    def public_key_pem(self, keyid: str) -> str:
        """The public half (SPKI PEM) of one of this home's own signing keys, for outside verifiers.

        Raises:
            IntegrityError: If the key is not ours, or disabled.
        """
        keys = self._rows.of(SIGN)
        for key in keys:
            if key.about.public_key is not None and keyid_of(key.about.public_key) == keyid:
                return readable(keys, SIGN, key.about.version).about.public_key or ""
        raise IntegrityError(
            "A signature names a key that is not one of this home's signing keys",
            "Verify it in the home that signed it.",
        )

    def log_signer(self, name: str) -> RingLogSigner:
        """What signs the audit log's checkpoints, under this C2SP key name."""
        return RingLogSigner(name, self._rows, self._opened)

    def log_identity(self) -> str:
        """What names this home's log, whichever of its keys signs it."""
        return identity(self._rows.of(LOG))

    def subject_keys(self, domain: str, subjects: Collection[str]) -> dict[str, bytes]:
        """32 bytes for each person of a domain; those that have none get one, destroyed ones are left out.

        Raises:
            IntegrityError: If a row was changed, put back or deleted, or the wrapping key cannot be used.
        """
        return self._subjects.of(domain, subjects)

    def persons(self, domain: str) -> DomainPersons:
        """The keys of the persons of a domain, for what is encrypted under them."""
        return DomainPersons(self._subjects, domain)

    def any_erased(self, domain: str) -> bool:
        """Whether anybody's key in a domain was destroyed: where not, nobody need be looked for."""
        return self._subjects.any_destroyed(domain)

    def erased(self, domain: str, persons: Collection[str]) -> set[str]:
        """Those among some persons of a domain whose key was destroyed."""
        return self._subjects.destroyed(domain, persons)

    def destroy_subject_key(self, domain: str, subject: str, *, actor: str) -> None:
        """Remove the key of a person for ever, and see that they never get another."""
        self._subjects.destroy(domain, subject, actor=actor)

    def require(self, algorithm: str) -> None:
        """Refuse to make something by an algorithm that is retired, or that the settings do not allow.

        Raises:
            UsageError: If it is.
        """
        require_making(algorithm, fips=self._opened.fips)

    def _newest(self, name: str) -> StoredKey:
        return newest(self._rows.of(name), name)

    def _readable(self, name: str, version: int) -> StoredKey:
        return readable(self._rows.of(name), name, version)

    def _of_domain(self, kind: str, domain: str, version: int | None) -> StoredKey:
        name = f"{kind}/{domain}"
        if version in (None, 1) and not self._rows.of(name):
            self._make(name)
        return self._newest(name) if version is None else self._readable(name, version)

    def _mac(self, stored: StoredKey, purpose: str, message: bytes) -> str:
        return hmac_sha256(self._opened.derived(stored, f"mac|{purpose}"), message).hex()

    def _identity(self, stored: StoredKey, identifier: str) -> str:
        key = self._opened.derived(stored, "identify")
        return f"p:{hmac_sha256(key, identifier.encode()).hex()[:_IDENTIFIER_HEX]}"

    def _new(self, name: str) -> StoredKey:
        return make_version(self._opened.provider, name, 1, utc_now(), fips=self._opened.fips)

    def _make(self, name: str) -> None:
        try:
            self._rows.write("key.create", [self._new(name)], seen=[], actor=RING, subject=name)
        except GateRefusedError:
            # Somebody else made it at the same time.
            if not self._rows.of(name):
                raise
