"""Security outcomes by month: what went wrong, how soon somebody looked, what was denied.

Each month counts what began in it. An incident is contained when a person has acknowledged or judged it;
incidents that ended by themselves are listed separately. Medians are used, because one forgotten incident
says nothing about the others.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Final

from secure_platform.contract.product import Product
from secure_platform.gate.records import ReleaseRecord
from secure_platform.monitor.incident import Incident
from secure_platform.orchestration.tally import Asked

MONTHS: Final = 12
SOON_DAYS: Final = 30
_TWELVE: Final = 12


@dataclass(frozen=True)
class Month:
    """The outcomes of one month.

    Attributes:
        name: `2026-11`.
        incidents: Kind → how many opened.
        contained, ended: How many of them a person had looked at, and how many ended by themselves.
        contain: Median time until a person had looked; None if nobody has.
        allowed, denied: What the policy said.
        restricted: How many of the denials were on restricted data.
        decided, deployed: Median time from a release until its approval, and until it was live.
    """

    name: str
    incidents: Mapping[str, int]
    contained: int
    ended: int
    contain: timedelta | None
    allowed: int
    denied: int
    restricted: int
    decided: timedelta | None
    deployed: timedelta | None

    @property
    def opened(self) -> int:
        """How many incidents opened."""
        return sum(self.incidents.values())

    @property
    def share(self) -> float | None:
        """Share of what was asked that was allowed; None if nothing was asked."""
        asked = self.allowed + self.denied
        return self.allowed / asked if asked else None


@dataclass(frozen=True, order=True)
class Waived:
    """A column that is protected less than its profile requires, with leave.

    Attributes:
        left: Days until the leave ends; negative once it has.
    """

    expires: date
    product: str
    column: str
    left: int
    approver: str
    reason: str

    @property
    def soon(self) -> bool:
        """Whether it ends within a month, or has ended."""
        return self.left <= SOON_DAYS


def months(
    now: datetime,
    incidents: Sequence[Incident],
    asked: Mapping[Asked, int],
    releases: Sequence[ReleaseRecord],
    deployed: Mapping[str, str],
) -> list[Month]:
    """The last twelve months, the present one first.

    Args:
        now: The present moment.
        incidents: Of the products in question.
        asked: What the policy was asked about them.
        releases: Of them.
        deployed: Digest of a release → when it first went live.
    """
    live = {digest: datetime.fromisoformat(at) for digest, at in deployed.items()}
    return [
        _month(
            name,
            [each for each in incidents if _name(each.opened_at) == name],
            {each: count for each, count in asked.items() if each.month == name},
            [each for each in releases if _name(each.created_at) == name],
            live,
        )
        for name in _names(now)
    ]


def waivers(products: Iterable[Product], today: date) -> list[Waived]:
    """Every waiver that contracts hold, those that end first at the front."""
    return sorted(
        Waived(
            waiver.expires,
            product.name,
            f"{name}.{column.name}",
            (waiver.expires - today).days,
            waiver.approver,
            waiver.reason,
        )
        for product in products
        for name, contract in product.contracts.items()
        for whole in contract.columns
        for column in whole.every()
        if (waiver := column.waiver) is not None
    )


def _month(
    name: str,
    incidents: Sequence[Incident],
    asked: Mapping[Asked, int],
    releases: Sequence[ReleaseRecord],
    live: Mapping[str, datetime],
) -> Month:
    looked = [(each, at) for each in incidents if (at := each.contained_at) is not None]
    ended = sum(not each.unsettled and each.contained_at is None for each in incidents)
    denied = {each: count for each, count in asked.items() if not each.allowed}
    return Month(
        name=name,
        incidents=Counter(each.kind for each in incidents),
        contained=len(looked),
        ended=ended,
        contain=_median(at - each.opened_at for each, at in looked),
        allowed=sum(asked.values()) - sum(denied.values()),
        denied=sum(denied.values()),
        restricted=sum(count for each, count in denied.items() if each.restricted),
        decided=_median(each.decided_at - each.created_at for each in releases if each.decided_at),
        deployed=_median(live[each.digest] - each.created_at for each in releases if each.digest in live),
    )


def _median(times: Iterable[timedelta]) -> timedelta | None:
    known = [each.total_seconds() for each in times]
    return timedelta(seconds=median(known)) if known else None


def _name(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m}"


def _names(now: datetime) -> Iterator[str]:
    year, month = now.astimezone(UTC).year, now.astimezone(UTC).month
    for back in range(MONTHS):
        years, index = divmod(year * _TWELVE + month - 1 - back, _TWELVE)
        yield f"{years:04d}-{index + 1:02d}"
