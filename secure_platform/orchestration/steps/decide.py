"""One way to decide on a release, for command line, web page and API: what was seen is what is signed.

The package is verified first, and the digest and production base that the caller saw must still be the
present ones. A change ticket is put in front of the reason, so that the decision's signature covers it. The
ticket is audited in the clear, and sent with the notice of the decision.
"""

import re
from typing import Final

from secure_platform.access.principals import Principal
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.gate.closed import release_subject
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.notify.spans import About, begun
from secure_platform.orchestration.steps.deploy import verified_package
from secure_platform.orchestration.steps.tell import tell
from secure_platform.services import Services

_TICKET: Final = re.compile(r"[A-Z][A-Z0-9]{0,15}-?[0-9]{1,12}")


def approve(
    services: Services,
    digest: str,
    principal: Principal,
    *,
    reason: str,
    base: str | None,
    ticket: str | None = None,
) -> ReleaseRecord:
    """Approve a release against the production base that the principal saw.

    Raises:
        AccessDeniedError: If the policy does not let this principal approve it.
        GateRefusedError: If production changed since, or the release is no longer pending.
        IntegrityError: If the package is not what was signed.
        UsageError: If the ticket is none.
    """
    said = _with_ticket(reason, ticket)
    record = services.gate.get(digest)
    with verified_package(services, record):
        present = services.target.base(record.product)
    if present != base:
        raise GateRefusedError(
            f"Production of {record.product} changed since {record.title} was looked at",
            "Look at the release again, then decide.",
        )
    with begun(services.traces, "gate", About(record.product)):
        decided = services.gate.approve(digest, principal, reason=said, base=base)
    _note_ticket(services, digest, principal, ticket)
    if decided.state is ReleaseState.APPROVED:
        # Approved again after its approvals were lost, it is told again.
        tell(services, "release.approved", decided, ticket=ticket, occasion=str(decided.decided_at))
    return decided


def reject(
    services: Services, digest: str, principal: Principal, *, reason: str, ticket: str | None = None
) -> ReleaseRecord:
    """Reject a pending release for good.

    Raises:
        AccessDeniedError: If the policy does not let this principal reject it.
        GateRefusedError: If it is no longer pending.
        UsageError: If the ticket is none.
    """
    record = _require_not_live(services, digest)
    with begun(services.traces, "gate", About(record.product)):
        decided = services.gate.reject(digest, principal, reason=_with_ticket(reason, ticket))
    _note_ticket(services, digest, principal, ticket)
    tell(services, "release.rejected", decided, ticket=ticket)
    return decided


def withdraw(
    services: Services, digest: str, principal: Principal, *, reason: str, ticket: str | None = None
) -> ReleaseRecord:
    """Withdraw a release that is not deployed; raises what `reject` does."""
    record = _require_not_live(services, digest)
    with begun(services.traces, "gate", About(record.product)):
        decided = services.gate.withdraw(digest, principal, reason=_with_ticket(reason, ticket))
    _note_ticket(services, digest, principal, ticket)
    tell(services, "release.withdrawn", decided, ticket=ticket)
    return decided


def _with_ticket(reason: str, ticket: str | None) -> str:
    if ticket is None:
        return reason
    if not _TICKET.fullmatch(ticket):
        raise UsageError("That is not the id of a change ticket", "Name it as it is: CHG0030192, OPS-12.")
    return f"{ticket}: {reason}" if reason.strip() else reason


def _note_ticket(services: Services, digest: str, principal: Principal, ticket: str | None) -> None:
    if ticket is not None:
        services.audit.append(
            "release.ticket",
            actor=principal.name,
            subject=release_subject(digest),
            detail={"ticket": ticket},
        )


def _require_not_live(services: Services, digest: str) -> ReleaseRecord:
    """The release; refused if it is live, even if the deployment died before it could record that."""
    record = services.gate.get(digest)
    if services.target.base(record.product) == digest:
        raise GateRefusedError(
            f"{record.title} is in production", f"Roll back: secure-platform rollback {record.product}."
        )
    return record
