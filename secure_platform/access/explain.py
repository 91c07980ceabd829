"""What would change a decision, and what other policies would have decided."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from secure_platform.access.cedar import kept_question
from secure_platform.access.matrix import Permission, permission_matrix
from secure_platform.access.policy import Policy, Seen
from secure_platform.access.principals import ROLES, Principal
from secure_platform.access.resources import Action, Resource
from secure_platform.audit.reader import Entry


@dataclass(frozen=True)
class Changed:
    """A decision of the log that other policies would make otherwise."""

    seq: int
    action: str
    subject: str
    allowed: bool
    rules: tuple[str, ...]


def would_help(
    policy: Policy,
    principal: Principal,
    action: Action,
    resource: Resource,
    *,
    purposes: Iterable[str],
    at: datetime,
    seen: Seen,
) -> list[str]:
    """Each single change with which the caller would be allowed: a role, a second factor, a purpose."""

    def allowed(changed: Principal) -> bool:
        return policy.evaluate(changed, action, resource, at=at, **seen).allowed

    return [text for text, changed in _changes(principal, purposes, at) if allowed(changed)]


def _changes(principal: Principal, purposes: Iterable[str], at: datetime) -> Iterator[tuple[str, Principal]]:
    come = principal.circumstances
    logged_in = replace(come, channel="web", mfa_at=at)
    yield "a second factor just proven on the web page", replace(principal, circumstances=logged_in)
    for purpose in sorted(purposes):
        yield f"the purpose {purpose}", replace(principal, circumstances=replace(come, purpose=purpose))
    for role in sorted(ROLES - principal.roles):
        yield f"the role {role}", replace(principal, roles=principal.roles | {role})


def changed_cells(old: Policy, new: Policy) -> list[tuple[Permission, Permission]]:
    """The cells of the permission matrix that differ, before and after."""
    pairs = zip(permission_matrix(old), permission_matrix(new), strict=True)
    return [(before, after) for before, after in pairs if before != after]


def replayed(new: Policy, entries: Sequence[Entry]) -> list[Changed]:
    """The recorded decisions that the new policies would make otherwise, asked the same question again."""
    changed = []
    for entry in entries:
        before = entry.body["detail"]
        after = new.ask(kept_question(before["question"]))
        if after.allowed is not before["allowed"]:
            changed.append(
                Changed(entry.seq, before["action"], entry.body["subject"], after.allowed, after.rules)
            )
    return changed


def decisions(entries: Iterable[Entry], count: int) -> list[Entry]:
    """The first `count` of these entries that record a decision."""
    found: list[Entry] = []
    for entry in entries:
        if len(found) == count:
            break
        if entry.body["action"] == "policy.decide":
            found.append(entry)
    return found
