"""What is on legal hold is not erased until the hold is lifted; holds are entries of the audit log.

The log cannot be shortened or edited unnoticed, and no row is kept that could say otherwise, so neither can a
hold. A person appears in it as a keyed hash, and a matter as the number that the court or counsel gave it.

A hold is recorded first, so that whatever is erasing sees it before it deletes the next thing, and stops;
then that is waited for. Once a hold is said to be set, nothing is deleted any more that it keeps.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from secure_platform.access.policy import Policy
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, ProductResource
from secure_platform.audit.log import AuditLog
from secure_platform.control.locks import WORK_SECONDS, file_lock
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.files import private_directory

SET: Final = "hold.set"
LIFTED: Final = "hold.lift"
_MATTER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")


@dataclass(frozen=True)
class Hold:
    """What must be kept.

    Attributes:
        matter: Why, as the number of a case.
        person: Keyed hash of whose data; None for all of the product.
    """

    product: str
    matter: str
    person: str | None


class Holds:
    """The holds of one home.

    Args:
        audit: Holds them.
        policy: Decides who may.
        lock: The file that is locked while something is erased.
    """

    def __init__(self, audit: AuditLog, policy: Policy, lock: Path) -> None:
        self._audit = audit
        self._policy = policy
        self._lock = lock

    def set(self, caller: Principal, product: ProductResource, matter: str, person: str | None) -> Hold:
        """Keep a product's data, or one person's in it, from being erased; returns when nothing is any more.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If the matter is no number of a case.
            GateRefusedError: If what is being erased does not stop; the hold is recorded all the same.
        """
        hold = self._record(SET, caller, product, Hold(product.name, _require_matter(matter), person))
        with self.erasing():
            return hold

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """While something is erased, that a hold could keep: one at a time.

        Raises:
            GateRefusedError: If another process did not stop for an hour.
        """
        private_directory(self._lock.parent)
        with file_lock(self._lock, holder="an erasure", timeout_seconds=WORK_SECONDS):
            yield

    def require_unchanged(self, seen: Sequence[Hold]) -> None:
        """Refuse, before something is deleted, if there are other holds than were seen when it was decided.

        Raises:
            GateRefusedError: If one was set or lifted.
        """
        if self.all() != seen:
            raise GateRefusedError("A legal hold was set or lifted during an erasure", "Say it again.")

    def lift(
        self, caller: Principal, product: ProductResource, matter: str, person: Collection[str]
    ) -> list[Hold]:
        """Let it be erased again, as far as this hold goes.

        Args:
            caller: Who lifts it.
            product: On what it is.
            matter: Why it is.
            person: Every keyed hash that may stand for whose data; empty for all of the product.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If there is no such hold.
        """
        named: set[str | None] = {*person} or {None}
        found = [each for each in self.all(product.name) if each.matter == matter and each.person in named]
        if not found:
            raise UsageError(
                f"There is no such hold of {_require_matter(matter)} on {product.name}",
                "See: secure-platform hold list",
            )
        return [self._record(LIFTED, caller, product, hold) for hold in found]

    def all(self, product: str | None = None) -> list[Hold]:
        """The holds on a product, or on all, in the order of their names."""
        latest: dict[Hold, str] = {}
        for entry in self._audit.backwards('"action":"hold.'):
            body = entry.body
            if body["action"] in {SET, LIFTED} and product in {None, body["subject"]}:
                hold = Hold(body["subject"], body["detail"]["matter"], body["detail"]["person"])
                latest.setdefault(hold, body["action"])
        held = [hold for hold, action in latest.items() if action == SET]
        return sorted(held, key=lambda hold: (hold.product, hold.matter, hold.person or ""))

    def on(self, product: str, person: Collection[str]) -> list[Hold]:
        """The holds that keep somebody from being erased in a product.

        Args:
            product: Its name.
            person: Every keyed hash that may stand for them.
        """
        return [hold for hold in self.all(product) if hold.person is None or hold.person in person]

    def _record(self, action: str, caller: Principal, product: ProductResource, hold: Hold) -> Hold:
        self._policy.require(caller, Action.LEGAL_HOLD, product)
        detail = {"matter": hold.matter, "person": hold.person}
        self._audit.append(action, actor=caller.name, subject=hold.product, detail=detail)
        return hold


def _require_matter(matter: str) -> str:
    if not _MATTER.fullmatch(matter):
        raise UsageError(
            f"{matter[:64]!r} cannot be the number of a matter",
            "Give letters, digits and . _ / -, at most 64; it is recorded as it is, so name no person in it.",
        )
    return matter
