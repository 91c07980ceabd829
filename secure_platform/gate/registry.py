"""Every release is registered once, waits for a decision, and expires if none is made.

The expiry is recorded before anybody sees the list, so that setting a clock back revives nothing. A new
release supersedes those of its product that are still open.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError as DuplicateError

from secure_platform.audit.log import JSON, AuditLog
from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import release as release_table
from secure_platform.errors import GateRefusedError
from secure_platform.gate.closed import REGISTERED, release_subject
from secure_platform.gate.records import ReleaseRecord, add, load, move, require_digest, select_records
from secure_platform.gate.states import OPEN, ReleaseState
from secure_platform.taxonomy.classification import Classification

LIFETIME: Final = timedelta(days=7)
GATE: Final = "service:gate"


class Registry:
    """The registered releases of one home.

    Args:
        database: Holds their states.
        audit: Where every change is recorded.
        lifetime: How long after its registration a release can be approved and deployed.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        database: ControlDatabase,
        audit: AuditLog,
        *,
        lifetime: timedelta = LIFETIME,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._audit = audit
        self._lifetime = lifetime
        self._clock = clock

    def register(  # noqa: PLR0913 - one argument per fact of a release
        self,
        *,
        digest: str,
        product: str,
        environment: str,
        classification: str,
        requested_by: str,
        run_id: str,
        input_key: str,
        number: int,
        base: str | None,
        approver_groups: Sequence[str] = (),
        second_approver_groups: Sequence[str] = (),
    ) -> ReleaseRecord:
        """Hold a new release at the gate; older ones of the product that are still open are superseded.

        Args:
            digest: SHA-256 of the manifest.
            product: The data product.
            environment: Where it is to be deployed.
            classification: Label of the highest classification in its tables.
            requested_by: Name of the principal that it was built for.
            run_id: The run that built it.
            input_key: What it was made from.
            number: Its number within the product.
            base: Digest of the release in production.
            approver_groups: Who may approve it, as its contracts say; empty for every steward.
            second_approver_groups: Of whom one must approve it besides.

        Raises:
            GateRefusedError: If the digest or the number is taken.
        """
        require_digest(digest)
        Classification.parse(classification)
        now = self._clock()
        record = ReleaseRecord(
            digest=digest,
            product=product,
            number=number,
            environment=environment,
            state=ReleaseState.PENDING,
            base=base,
            classification=classification,
            requested_by=requested_by,
            run_id=run_id,
            input_key=input_key,
            approver_groups=tuple(approver_groups),
            second_approver_groups=tuple(second_approver_groups),
            created_at=now,
            expires_at=now + self._lifetime,
            decided_at=None,
        )
        detail: dict[str, JSON] = {
            "product": product,
            "number": number,
            "environment": environment,
            "base": base,
        }
        with (
            self._audit.effect(
                REGISTERED, actor=requested_by, subject=release_subject(digest), detail=detail
            ) as outcome,
            self._database.write() as connection,
        ):
            outcome["superseded"] = [older.digest for older in _supersede(connection, product, now)]
            try:
                add(connection, record)
            except DuplicateError:
                raise GateRefusedError(
                    f"{record.title} is registered already", "Build it again: it gets the next number."
                ) from None
        return record

    def get(self, digest: str) -> ReleaseRecord:
        """The release with this digest.

        Raises:
            GateRefusedError: If none is registered.
        """
        self._write_expiry()
        with self._database.read() as connection:
            return load(connection, digest, self._clock())

    def next_number(self, product: str) -> int:
        """The number after the product's newest release."""
        query = select(func.coalesce(func.max(release_table.c.number), 0) + 1)
        with self._database.read() as connection:
            number: int = connection.execute(query.where(release_table.c.product == product)).scalar_one()
        return number

    def find(self, product: str, input_key: str) -> ReleaseRecord | None:
        """The release that was made from the same input and still counts: nothing new is needed then.

        It is in production, or open for a decision against what is in production, or was rejected against it:
        what a steward refused is not put to the vote again because the schedule ran.
        """
        records = self.list(product)
        deployed = [record for record in records if record.state is ReleaseState.DEPLOYED]
        production = deployed[-1] if deployed else None
        live = [
            record
            for record in records
            if record.state in {ReleaseState.PENDING, ReleaseState.APPROVED, ReleaseState.REJECTED}
            and record.base == (production.digest if production else None)
        ]
        for record in [*live[::-1], *deployed[-1:]]:
            if record.input_key == input_key:
                return record
        return None

    def _write_expiry(self) -> None:
        """Write down which releases have expired, so that a clock set back does not revive them."""
        now = self._clock()
        due = (release_table.c.state.in_(OPEN), release_table.c.expires_at <= now)
        with self._database.read() as connection:
            expired = select_records(connection, now, *due)
        for record in expired:
            with (
                self._audit.effect("release.expire", actor=GATE, subject=release_subject(record.digest)),
                self._database.write() as connection,
            ):
                for present in select_records(connection, now, *due, release_table.c.digest == record.digest):
                    move(connection, present, ReleaseState.EXPIRED)

    def list(self, product: str | None = None) -> list[ReleaseRecord]:
        """All releases, by product and number."""
        self._write_expiry()
        where = [] if product is None else [release_table.c.product == product]
        with self._database.read() as connection:
            return select_records(connection, self._clock(), *where)


def _supersede(connection: Connection, product: str, now: datetime) -> list[ReleaseRecord]:
    where = (release_table.c.product == product, release_table.c.state.in_(OPEN))
    older = [r for r in select_records(connection, now, *where) if r.state in OPEN]
    return [move(connection, record, ReleaseState.SUPERSEDED) for record in older]
