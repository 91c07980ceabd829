"""What holds at a moment apart from who somebody is: grants, delegations, freezes, a product's declarations.

The policy looks here itself, so that no caller can leave out a freeze or invent a grant. A grant gives its
role for its product only. A delegation lends the approver right that its giver has at that moment; only one
is used at a time, and only if the principal's own rights are not enough. A break-glass gives a role and marks
its holder, who cannot approve anything there meanwhile.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol, TypeAlias

from secure_platform.access.principals import Principal, Principals
from secure_platform.access.reasons import open_reason
from secure_platform.access.seals import Row, SealedRows
from secure_platform.access.windows import Window
from secure_platform.control.database import as_utc
from secure_platform.control.tables import access_grant, freeze
from secure_platform.keys.ring import KeyRing
from secure_platform.site import Event

GrantKind: TypeAlias = Literal["grant", "delegation", "break_glass"]

APPROVER: Final = "data_steward"
REVIEW_WITHIN: Final = timedelta(hours=72)


class Announce(Protocol):
    """Tells people of what has happened."""

    def __call__(self, event: Event, *, product: str | None) -> None:
        """Announce an event about a product, or about all."""


@dataclass(frozen=True)
class Declared:
    """What a product's `defs.yaml` says to the policies.

    Attributes:
        owner: `team:<name>` or an e-mail address.
        purposes: What its data may be used for.
        windows: When it may be deployed; empty for always.
    """

    owner: str = ""
    purposes: frozenset[str] = frozenset()
    windows: tuple[Window, ...] = ()

    def in_window(self, at: datetime) -> bool:
        """Whether it may be deployed at this moment."""
        return not self.windows or any(at in window for window in self.windows)


@dataclass(frozen=True)
class Grant:
    """A right for a time.

    Attributes:
        kind: `grant` by an administrator, `delegation` by an approver, `break_glass` by its holder.
        principal: Who has it.
        role: The role that it gives; of a delegation, the approver's.
        product: Where; None for every product, never for the platform itself.
        given_by: Who gave it.
        reason: Free text.
        reviewed_by: Who reviewed a break-glass, None while nobody has.
        review: What they found.
    """

    grant_id: str
    kind: GrantKind
    principal: str
    role: str
    product: str | None
    given_by: str
    reason: str = field(repr=False)
    starts_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    review: str | None = field(repr=False)

    def holds(self, at: datetime) -> bool:
        """Whether it gives its right at this moment; what was revoked gives none, not even for the past."""
        return self.revoked_at is None and self.starts_at <= at < self.expires_at

    def overdue(self, at: datetime) -> bool:
        """Whether it is a break-glass that nobody has reviewed in time."""
        return (
            self.kind == "break_glass" and self.reviewed_at is None and at >= self.starts_at + REVIEW_WITHIN
        )


@dataclass(frozen=True)
class Freeze:
    """A time in which nothing is deployed.

    Attributes:
        product: Which; None for all.
        expires_at: When it ends by itself, None for never.
    """

    freeze_id: str
    product: str | None
    reason: str = field(repr=False)
    set_by: str
    starts_at: datetime
    expires_at: datetime | None
    lifted_at: datetime | None

    def holds(self, at: datetime) -> bool:
        """Whether it is in force at this moment."""
        over = self.lifted_at is not None or (self.expires_at is not None and at >= self.expires_at)
        return self.starts_at <= at and not over


@dataclass(frozen=True)
class Held:
    """What a principal has on a product at a moment, besides what they are.

    Attributes:
        roles: By grants and break-glasses.
        groups: Approver groups, by a delegation.
        delegators: Who lent them their right.
        emergency: Whether a break-glass is among it.
        review_overdue: Whether a break-glass of theirs waits too long for its review.
        grants: Ids of the grants that all this comes from.
    """

    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    delegators: frozenset[str] = frozenset()
    emergency: bool = False
    review_overdue: bool = False
    grants: frozenset[str] = frozenset()

    def __or__(self, other: "Held") -> "Held":
        return Held(
            self.roles | other.roles,
            self.groups | other.groups,
            self.delegators | other.delegators,
            self.emergency or other.emergency,
            self.review_overdue or other.review_overdue,
            self.grants | other.grants,
        )


NOTHING: Final = Held()


class Situation:
    """Nothing is granted, frozen or declared: what a policy is judged in that knows no home."""

    def held(
        self, principal: Principal, product: str | None, at: datetime, only: Collection[str] | None = None
    ) -> Held:
        """What the principal has by grants and break-glasses on this product; None is the platform.

        Args:
            principal: Who.
            product: Where.
            at: When.
            only: Ids of the grants to look at; None for all.
        """
        del principal, product, at, only
        return NOTHING

    def delegated(
        self, principal: Principal, product: str, at: datetime, only: Collection[str] | None = None
    ) -> Iterator[Held]:
        """What each delegation on its own lends to the principal; arguments as for `held`."""
        del principal, product, at, only
        yield from ()

    def frozen(self, product: str, at: datetime) -> bool:
        """Whether nothing of the product may be deployed."""
        del product, at
        return False

    def blocked(self, product: str) -> bool:
        """Whether an incident in production waits for somebody to acknowledge it."""
        del product
        return False

    def declared(self, product: str) -> Declared:
        """What the product says of itself."""
        del product
        return Declared()


class HomeSituation(Situation):
    """The situation in a home.

    Args:
        rows: Verify the rows of grants and freezes.
        keys: Open their reasons.
        principals: Who the delegators are now.
        declared: What the product of a name declares.
        blocked: Whether an incident in production of a product waits to be acknowledged.
    """

    def __init__(
        self,
        rows: SealedRows,
        keys: KeyRing,
        principals: Principals,
        declared: Callable[[str], Declared] = lambda _: Declared(),
        blocked: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._rows = rows
        self._keys = keys
        self._principals = principals
        self._declared = declared
        self._blocked = blocked
        self._grants: tuple[Sequence[Row], Sequence[Grant]] = ((), ())
        self._freezes: tuple[Sequence[Row], Sequence[Freeze]] = ((), ())

    def grants(self) -> Sequence[Grant]:
        """All that were ever given, oldest first.

        Raises:
            IntegrityError: If a row is not the one that was recorded last, or one is missing.
        """
        rows = self._rows.all(access_grant)
        if rows is not self._grants[0]:
            found = [Grant(**_opened(self._keys, "grant_id", row)) for row in rows]
            self._grants = rows, sorted(found, key=lambda grant: grant.starts_at)
        return self._grants[1]

    def freezes(self) -> Sequence[Freeze]:
        """All that were ever set, oldest first; raises what `grants` does."""
        rows = self._rows.all(freeze)
        if rows is not self._freezes[0]:
            found = [Freeze(**_opened(self._keys, "freeze_id", row)) for row in rows]
            self._freezes = rows, sorted(found, key=lambda each: each.starts_at)
        return self._freezes[1]

    def held(
        self, principal: Principal, product: str | None, at: datetime, only: Collection[str] | None = None
    ) -> Held:
        """What the principal has by grants and break-glasses on this product; None is the platform."""
        own = [grant for grant in self.grants() if grant.principal == principal.name]
        if not own:
            return NOTHING
        giving = [g for g in own if g.kind != "delegation" and _gives(g, product, at, only)]
        return Held(
            roles=frozenset(grant.role for grant in giving),
            emergency=any(grant.kind == "break_glass" for grant in giving),
            review_overdue=any(grant.overdue(at) for grant in own),
            grants=frozenset(grant.grant_id for grant in giving),
        )

    def delegated(
        self, principal: Principal, product: str, at: datetime, only: Collection[str] | None = None
    ) -> Iterator[Held]:
        """What each delegation on its own lends to the principal."""
        for grant in self.grants():
            lends = grant.kind == "delegation" and grant.principal == principal.name
            giver = (
                self._principals.get(grant.given_by) if lends and _gives(grant, product, at, only) else None
            )
            if giver is not None and may_delegate(giver):
                yield Held(
                    frozenset({grant.role}),
                    giver.groups,
                    frozenset({giver.name}),
                    grants=frozenset({grant.grant_id}),
                )

    def frozen(self, product: str, at: datetime) -> bool:
        """Whether nothing of the product may be deployed."""
        return any(each.product in {None, product} and each.holds(at) for each in self.freezes())

    def blocked(self, product: str) -> bool:
        """Whether an incident in production waits for somebody to acknowledge it."""
        return self._blocked(product)

    def declared(self, product: str) -> Declared:
        """What the product says of itself."""
        return self._declared(product)


def may_delegate(giver: Principal) -> bool:
    """Whether somebody has an approver right of their own, which they can lend."""
    return giver.active and giver.kind == "user" and APPROVER in giver.roles and "admin" not in giver.roles


def _gives(grant: Grant, product: str | None, at: datetime, only: Collection[str] | None) -> bool:
    wanted = only is None or grant.grant_id in only
    return wanted and product is not None and grant.product in {None, product} and grant.holds(at)


def _opened(keys: KeyRing, key: str, row: Row) -> dict[str, Any]:
    """What a row says, with its texts opened and its moments aware."""
    said = {name: value for name, value in row.items() if name != "seal"}
    for name, value in said.items():
        if isinstance(value, datetime):
            said[name] = as_utc(value)
        elif isinstance(value, bytes):
            said[name] = open_reason(keys, row[key], value)
    return said
