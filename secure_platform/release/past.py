"""A home that was put back to an older state is noticed: it lacks entries that it has signed since.

Every release carries a checkpoint of the audit log. The settings may also name a file on another disk, which
gets a checkpoint with every spend of a privacy budget. Putting back all of these copies together goes
unnoticed.
"""

from collections.abc import Iterator
from pathlib import Path

from secure_platform.audit.log import AuditLog
from secure_platform.errors import IntegrityError
from secure_platform.files import replace_private
from secure_platform.release.layout import CHECKPOINT


class SignedPast:
    """The checkpoints that are kept outside the log.

    Args:
        audit: The log.
        releases: The folder of the signed packages.
        kept: A file outside the home; None for none.
    """

    def __init__(self, audit: AuditLog, releases: Path, kept: Path | None) -> None:
        self._audit = audit
        self._releases = releases
        self._kept = kept

    def require(self, product: str, *, spent: bool) -> None:
        """Refuse a home that is older than a release of the product, or than the file.

        Args:
            product: Whose releases are looked at.
            spent: Whether the file has to be there.

        Raises:
            IntegrityError: If it is, or the file is gone.
        """
        if spent and self._kept is not None and not self._kept.exists():
            raise IntegrityError(
                f"The checkpoint {self._kept.name} that the settings name is gone",
                "Restore it; or, if it was never kept, write one: secure-platform audit export.",
            )
        self._audit.require_contains(list(self._notes(product)))

    def keep(self) -> None:
        """Write the file anew."""
        if self._kept is not None:
            replace_private(self._kept, self._audit.checkpoint().encode())

    def _notes(self, product: str) -> Iterator[str]:
        paths = sorted((self._releases / product).glob(f"*.attestations/{CHECKPOINT}"))
        if self._kept is not None and self._kept.exists():
            paths.append(self._kept)
        for path in paths:
            yield path.read_bytes().decode("utf-8", "replace")
