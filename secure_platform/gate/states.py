"""A release moves through its states only along this table."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ReleaseState(StrEnum):
    """Where a release stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    DEPLOYED = "deployed"
    DEPLOY_FAILED = "deploy_failed"
    ROLLED_BACK = "rolled_back"


_S = ReleaseState
# What ends a release that nobody rejected.
LAPSED: Final = frozenset({_S.WITHDRAWN, _S.EXPIRED, _S.SUPERSEDED})
# A deployment that had begun before its release was ended still tells what it did to production.
_TOO_LATE: Final = frozenset({_S.DEPLOYED})

TRANSITIONS: Final[Mapping[ReleaseState, frozenset[ReleaseState]]] = {
    _S.PENDING: LAPSED | {_S.APPROVED, _S.REJECTED},
    _S.APPROVED: LAPSED | {_S.DEPLOYED, _S.DEPLOY_FAILED},
    _S.DEPLOY_FAILED: LAPSED | {_S.DEPLOYED},
    _S.DEPLOYED: frozenset({_S.ROLLED_BACK}),
    _S.WITHDRAWN: _TOO_LATE,
    _S.EXPIRED: _TOO_LATE,
    _S.SUPERSEDED: _TOO_LATE,
    _S.REJECTED: _TOO_LATE,
    _S.ROLLED_BACK: frozenset(),
}
# What ends a release while its deployment may have begun.
OVERTAKEN: Final = LAPSED | {_S.REJECTED}
# What can still expire or be superseded by a newer release.
OPEN: Final = frozenset({_S.PENDING, _S.APPROVED, _S.DEPLOY_FAILED})
# What a deployment or rollback reports of itself.
REPORTED: Final = frozenset({_S.DEPLOYED, _S.DEPLOY_FAILED, _S.ROLLED_BACK})
