"""The ring and the audit log of a home belong together: it signs the log, and the log witnesses its keys."""

from functools import cached_property
from pathlib import Path

from secure_platform.audit.log import AuditLog, LateLog
from secure_platform.control.database import ControlDatabase
from secure_platform.keys.material import NotPickled
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.ring import KeyRing


class HomeKeys(NotPickled):
    """Opens both.

    Args:
        provider: Wraps the material of the keys.
        database: The control database.
        log: The audit log's file.
        origin: The log's identity; None for the one that its first key gives it.
        fips: Whether only algorithms that FIPS 140-3 approves may be used.
    """

    def __init__(
        self,
        provider: KeyProvider,
        database: ControlDatabase,
        log: Path,
        *,
        origin: str | None = None,
        fips: bool = False,
    ) -> None:
        self._log = log
        self._origin = origin
        self.ring = KeyRing(provider, database, LateLog(log, lambda: self.audit), fips=fips)

    @cached_property
    def audit(self) -> AuditLog:
        """The tamper-evident log; the ring must be initialised."""
        origin = self._origin or f"secure-platform/{self.ring.log_identity()}"
        signer = self.ring.log_signer(origin)
        return AuditLog(self._log, origin=origin, signer=signer, identify=self.ring.identify)
