"""Key material is opened once per process and version, and forgotten when the version is not readable."""

from dataclasses import dataclass, field, replace
from typing import TypeAlias

from secure_platform.errors import IntegrityError
from secure_platform.keys.algorithms import require_opening
from secure_platform.keys.catalog import ALGORITHMS, SIGN, StoredKey
from secure_platform.keys.envelope import Envelope
from secure_platform.keys.material import KEY_BYTES, NotPickled, derive
from secure_platform.keys.provider import KeyProvider, RemoteSigner, require_same
from secure_platform.keys.signing import Signature, SigningKey

_Source: TypeAlias = tuple[str, int, str, str, bytes | None]


@dataclass
class _Opened(NotPickled):
    material: bytes = field(repr=False)
    derived: dict[str, bytes] = field(default_factory=dict, repr=False)
    envelopes: dict[str, Envelope] = field(default_factory=dict, repr=False)


class OpenedKeys(NotPickled):
    """The material of one home's keys, as far as it was needed; usable from several threads.

    Args:
        provider: Unwraps it.
        fips: Whether only keys of algorithms that FIPS 140-3 approves are opened.
    """

    def __init__(self, provider: KeyProvider, *, fips: bool) -> None:
        self.provider = provider
        self.fips = fips
        self._opened: dict[_Source, _Opened] = {}
        self._last: dict[tuple[str, int], tuple[StoredKey, _Opened]] = {}

    def material(self, stored: StoredKey) -> bytes:
        """The key itself.

        Raises:
            IntegrityError: If it was wrapped by another provider, or is not what that provider wrapped.
        """
        return self._open(stored).material

    def derived(self, stored: StoredKey, purpose: str, length: int = KEY_BYTES) -> bytes:
        """The key for one purpose; kept, so for purposes that are few and asked for again and again."""
        opened = self._open(stored)
        key = opened.derived.get(purpose)
        if key is None:
            key = opened.derived[purpose] = derive(opened.material, purpose, length)
        return key

    def envelope(self, stored: StoredKey, purpose: str) -> Envelope:
        """What seals and opens under the key for one purpose."""
        opened = self._open(stored)
        envelope = opened.envelopes.get(purpose)
        if envelope is None:
            envelope = opened.envelopes[purpose] = Envelope(self.derived(stored, purpose))
        return envelope

    def sign(self, stored: StoredKey, message: bytes) -> Signature:
        """ECDSA P-256 signature by the key itself, or by the provider that holds it.

        Raises:
            IntegrityError: If the provider that holds it is not set up to sign.
        """
        if stored.about.reference is None:
            return SigningKey(self.material(stored)).sign(message)
        return self.held(stored).sign(message)

    def held(self, stored: StoredKey) -> RemoteSigner:
        """What signs with a key that its provider holds.

        Raises:
            IntegrityError: If the provider is not set up to sign.
            ServiceError: If it cannot be reached, refuses, or has no such key any more.
        """
        is_ours = stored.about.provider == self.provider.name
        held = self.provider.signer(stored.about.reference) if is_ours else None
        if held is None:
            raise IntegrityError(
                f"{stored.about.title} is held by {stored.about.provider}, which is not set up to sign",
                "Name its signing key in the settings again, or run: secure-platform keys rotate sign",
            )
        return held

    def rewrapped(self, stored: StoredKey) -> bytes:
        """The same material under the newest version of the provider's key.

        Raises:
            IntegrityError: If it was wrapped by another provider, is not what that provider wrapped, or would
                not open any more.
        """
        anew = self.provider.rewrap(self._wrapped(stored), context=stored.context)
        require_same(self.provider, anew, self.material(stored), context=stored.context)
        return anew

    def wrapped_by(self, to: KeyProvider, stored: StoredKey) -> bytes:
        """The same material wrapped by another provider, under whose name it is known from here on, too."""
        wrapped = to.wrap(self.material(stored), context=stored.context)
        require_same(to, wrapped, self.material(stored), context=stored.context)
        moved = replace(stored, about=replace(stored.about, provider=to.name), wrapped=wrapped)
        self._opened[_source(moved)] = self._open(stored)
        return wrapped

    def forget(self, name: str, version: int) -> None:
        """Let go of a version that may not be read any more."""
        self._last.pop((name, version), None)
        # Other threads open versions, and forget the same one, at the same time: the copy is made at once.
        for source in list(self._opened):
            if source[:2] == (name, version):
                self._opened.pop(source, None)

    def _open(self, stored: StoredKey) -> _Opened:
        place = stored.about.name, stored.about.version
        last = self._last.get(place)
        if last is not None and last[0] is stored:
            return last[1]
        opened = self._opened.get(_source(stored))
        if opened is None:
            opened = self._opened[_source(stored)] = _Opened(self._unwrapped(stored))
        self._last[place] = stored, opened
        return opened

    def _unwrapped(self, stored: StoredKey) -> bytes:
        wrapped = self._wrapped(stored)
        require_opening(stored.about.algorithm, fips=self.fips)
        material = self.provider.unwrap(wrapped, context=stored.context)
        if stored.about.kind != SIGN and len(material) != KEY_BYTES:
            raise IntegrityError(
                f"{stored.about.title} opens as no key of {KEY_BYTES} bytes",
                f"Look whether the key provider {self.provider.name!r} is the service that it should be.",
            )
        return material

    def _wrapped(self, stored: StoredKey) -> bytes:
        """What our provider wrapped."""
        about = stored.about
        if about.provider != self.provider.name:
            raise IntegrityError(
                f"{about.title} is wrapped by provider {about.provider!r}, not {self.provider.name!r}",
                f"Open this home with the key provider {about.provider!r}.",
            )
        if stored.wrapped is None or about.algorithm != ALGORITHMS.get(about.kind):
            raise IntegrityError(
                f"{about.title} has no material of its algorithm", "Restore the control database."
            )
        return stored.wrapped


def _source(stored: StoredKey) -> _Source:
    about = stored.about
    return about.name, about.version, about.algorithm, about.provider, stored.wrapped
