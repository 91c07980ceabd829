"""New key material comes from the provider's random generator, wrapped before anything else sees it.

A key that is shorter than it should be would be guessed, and one that does not open again would be lost with
what it encrypts: neither is made.
"""

from dataclasses import replace
from datetime import datetime

from secure_platform.errors import IntegrityError
from secure_platform.keys.algorithms import require_making
from secure_platform.keys.catalog import ALGORITHMS, LOG, SIGN, KeyState, KeyVersion, StoredKey, kind_of
from secure_platform.keys.material import KEY_BYTES
from secure_platform.keys.provider import KeyProvider, require_same
from secure_platform.keys.signing import SigningKey, log_public_key


def make_version(
    provider: KeyProvider, name: str, version: int, moment: datetime, *, fips: bool
) -> StoredKey:
    """A new active version of a key, not stored yet; a signing key may stay with the provider.

    Args:
        provider: Makes or wraps the material.
        name: Of the key.
        version: Its number.
        moment: When it is made.
        fips: Whether only algorithms that FIPS 140-3 approves may make keys.

    Raises:
        IntegrityError: If the provider does not give what it should.
        UsageError: If the algorithm of this kind of key may not make new things.
    """
    kind = kind_of(name)
    require_making(ALGORITHMS[kind], fips=fips)
    held = provider.signer() if kind == SIGN else None
    about = KeyVersion(
        name,
        version,
        ALGORITHMS[kind],
        KeyState.ACTIVE,
        provider.name,
        reference=held.reference if held else None,
        public_key=held.public_key_pem if held else None,
        created_at=moment,
        changed_at=moment,
    )
    return StoredKey(about, wrapped=None) if held else _wrapped(provider, about)


def _wrapped(provider: KeyProvider, about: KeyVersion) -> StoredKey:
    context = StoredKey(about, wrapped=None).context
    if about.kind == SIGN:
        material = SigningKey.generate()
        about = replace(about, public_key=SigningKey(material).public_key_pem)
        wrapped = provider.wrap(material, context=context)
    else:
        material, wrapped = provider.generate(context)
        if len(material) != KEY_BYTES:
            raise IntegrityError(
                f"The key provider {provider.name!r} made no key of {KEY_BYTES} bytes",
                "Look whether this is the service that it should be.",
            )
        if about.kind == LOG:
            about = replace(about, public_key=log_public_key(material).hex())
    require_same(provider, wrapped, material, context=context)
    return StoredKey(about, wrapped)
