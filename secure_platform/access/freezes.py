"""A freeze stops every deployment of a product, or of all, until it is lifted or its time is over.

It never stops a rollback: production must be able to go back to what was right.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from secure_platform.access.policy import Policy
from secure_platform.access.principals import Principal
from secure_platform.access.reasons import require_reason, seal_reason
from secure_platform.access.resources import Action, PlatformResource, ProductResource
from secure_platform.access.seals import Change, SealedRows
from secure_platform.access.situation import Announce, Freeze, HomeSituation
from secure_platform.control.database import utc_now
from secure_platform.control.tables import freeze as freeze_table
from secure_platform.errors import UsageError
from secure_platform.keys.ring import KeyRing

LONGEST: Final = timedelta(days=365)


class Freezes:
    """The freezes of one home.

    Args:
        rows: Write and verify their rows.
        keys: Seal their reasons.
        policy: Decides who may.
        situation: Reads them.
        announce: Tells of them.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        rows: SealedRows,
        keys: KeyRing,
        policy: Policy,
        situation: HomeSituation,
        *,
        announce: Announce,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._rows = rows
        self._keys = keys
        self._policy = policy
        self._situation = situation
        self._announce = announce
        self._clock = clock

    def list(self) -> Sequence[Freeze]:
        """All that were ever set, oldest first."""
        return self._situation.freezes()

    def set(
        self,
        principal: Principal,
        resource: ProductResource | PlatformResource,
        *,
        reason: str,
        lasts: timedelta | None = None,
    ) -> Freeze:
        """Stop deployments of a product, or of all, for a time or until it is lifted.

        Raises:
            AccessDeniedError: If the policy does not let them.
            UsageError: If the time or reason will not do.
        """
        now = self._clock()
        self._policy.require(principal, Action.FREEZE, resource, at=now)
        if lasts is not None and not timedelta() < lasts <= LONGEST:
            raise UsageError("A freeze cannot last this long", f"Give more than no time, at most {LONGEST}.")
        product = resource.name if isinstance(resource, ProductResource) else None
        made = Freeze(
            freeze_id=secrets.token_hex(16),
            product=product,
            reason=require_reason(reason),
            set_by=principal.name,
            starts_at=now,
            expires_at=None if lasts is None else now + lasts,
            lifted_at=None,
        )
        row = {name: getattr(made, name) for name in Freeze.__dataclass_fields__}
        row["reason"] = seal_reason(self._keys, made.freeze_id, reason)
        self._rows.write(
            "freeze.set",
            [Change(freeze_table, None, row)],
            actor=principal.name,
            subject=f"freeze:{made.freeze_id}",
            detail={"product": product},
        )
        self._announce("freeze.set", product=product)
        return made

    def lift(self, principal: Principal, product: str | None) -> Sequence[Freeze]:
        """End every freeze that holds on exactly this product (None: those on all), and return them.

        Raises:
            AccessDeniedError: If the policy does not let them.
            UsageError: If there is none.
        """
        now = self._clock()
        self._policy.require(principal, Action.FREEZE, PlatformResource(), at=now)
        held = [each for each in self._situation.freezes() if each.product == product and each.holds(now)]
        if not held:
            raise UsageError(
                f"No freeze holds on {product or 'all products'}", "See: secure-platform access list."
            )
        rows = [row for each in held if (row := self._rows.one(freeze_table, each.freeze_id)) is not None]
        self._rows.write(
            "freeze.lift",
            [Change(freeze_table, row, {**row, "lifted_at": now}) for row in rows],
            actor=principal.name,
            subject=f"product:{product}" if product else "platform",
        )
        return held
