"""Key material is opened once per process and version, and forgotten when the version is not readable."""

from dataclasses import dataclass, field

from secure_platform.errors import IntegrityError
from secure_platform.keys.catalog import ALGORITHMS, StoredKey
from secure_platform.keys.material import KEY_BYTES, NotPickled, derive
from secure_platform.keys.provider import KeyProvider


@dataclass
class _Opened(NotPickled):
    stored: StoredKey
    material: bytes = field(repr=False)
    derived: dict[str, bytes] = field(default_factory=dict, repr=False)


class OpenedKeys(NotPickled):
    """The material of one home's keys, as far as it was needed.

    Args:
        provider: Unwraps it.
    """

    def __init__(self, provider: KeyProvider) -> None:
        self.provider = provider
        self._opened: dict[tuple[str, int], _Opened] = {}

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

    def forget(self, name: str, version: int) -> None:
        """Let go of a version that may not be read any more."""
        self._opened.pop((name, version), None)

    def _open(self, stored: StoredKey) -> _Opened:
        about = stored.about
        opened = self._opened.get((about.name, about.version))
        if opened is not None and (opened.stored is stored or _source(opened.stored) == _source(stored)):
            return opened
        opened = self._opened[about.name, about.version] = _Opened(stored, self._unwrapped(stored))
        return opened

    def _unwrapped(self, stored: StoredKey) -> bytes:
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
        return self.provider.unwrap(stored.wrapped, context=stored.context)


def _source(stored: StoredKey) -> tuple[object, ...]:
    return stored.wrapped, stored.about.provider, stored.about.algorithm
