"""Privacy budget, once spent, is spent for good, and a spend is durable before its noise is drawn.

The ledger has sealed rows, and the audit log witnesses their newest state: none can be edited, invented, put
back or removed unnoticed, and none is ever changed. One spend pays for one draw of noise: the same aggregate
over the same data is found by its keyed hash and spends nothing. The spends of a product add up, whatever its
aggregates are called.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from secure_platform.access.seals import Change, Row, SealedRows
from secure_platform.contract.aggregates import Aggregate, Budget, Period, exact
from secure_platform.control.database import as_utc, utc_now
from secure_platform.control.tables import privacy_spend as spend_table
from secure_platform.errors import DataRefusedError
from secure_platform.keys.ring import KeyRing

_UP: Final = Context(prec=40, rounding=ROUND_CEILING)
_ATTEMPTS: Final = 3
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True)
class Spend:
    """What one table has spent.

    Attributes:
        epsilon: None for noise that is counted in rho only.
        rho: What it is in zero-concentrated differential privacy (epsilon²/2, Bun and Steinke 2016, 1.4).
        key_version: Of the key that drew the noise.
    """

    spend_id: str
    product: str
    aggregate: str
    epsilon: Fraction | None
    rho: Fraction
    delta: Fraction
    key_version: int
    spent_at: datetime

    def to_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "aggregate": self.aggregate,
            "epsilon": None if self.epsilon is None else str(float(self.epsilon)),
            "rho": str(float(self.rho)),
            "delta": str(float(self.delta)),
            "spent_at": self.spent_at.isoformat(),
            "spend_id": self.spend_id,
        }


@dataclass(frozen=True)
class Balance:
    """What a product has spent in this period.

    Attributes:
        epsilon, delta: The total of its spends; epsilon is None if they cannot be added up.
        renews: When the period ends; None for never.
    """

    budget: Budget
    spends: tuple[Spend, ...]
    epsilon: Decimal | None
    delta: Fraction
    since: datetime | None
    renews: datetime | None

    @property
    def kept(self) -> bool:
        """Whether the budget is kept."""
        allowed = Decimal(repr(self.budget.epsilon)), exact(self.budget.delta)
        return self.epsilon is not None and self.epsilon <= allowed[0] and self.delta <= allowed[1]

    def to_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "budget": self.budget.model_dump(mode="json"),
            "spent": {
                "epsilon": None if self.epsilon is None else f"{self.epsilon:.6g}",
                "delta": f"{float(self.delta):.6g}",
            },
            "since": self.since.isoformat() if self.since else None,
            "renews": self.renews.isoformat() if self.renews else None,
            "spends": [each.to_json() for each in self.spends],
        }


class Past(Protocol):
    """The checkpoints of the audit log that are kept outside the home."""

    def require(self, product: str, *, spent: bool) -> None:
        """Refuse a home that is older than what it signed before."""
        ...

    def keep(self) -> None:
        """Keep a checkpoint of the log as it is now."""
        ...


class Ledger:
    """The spends of one home.

    Args:
        rows: Write and verify them.
        keys: Name them by keyed hashes.
        past: Shows whether the home was put back to an older state.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        rows: SealedRows,
        keys: KeyRing,
        past: Past,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._rows = rows
        self._keys = keys
        self._past = past
        self._clock = clock

    def spends(self, product: str) -> list[Spend]:
        """All that a product ever spent, oldest first.

        Raises:
            IntegrityError: If a row is not the one that was recorded, or one is missing.
        """
        found = [_read(row) for row in self._rows.all(spend_table) if row["product"] == product]
        return sorted(found, key=lambda each: (each.spent_at, each.spend_id))

    def balance(self, product: str, budget: Budget) -> Balance:
        """What a product has spent in this period.

        Raises:
            IntegrityError: If the ledger is not what was recorded.
        """
        return _balance(budget, self.spends(product), self._clock())

    def spend(
        self, product: str, budget: Budget, aggregate: Aggregate, identity: str, version: int, *, actor: str
    ) -> tuple[Spend, bool]:
        """Spend for a table, before it is made.

        Args:
            product: Whose budget it is.
            budget: What may be spent.
            aggregate: What it spends.
            identity: Of the table; see `told.identity`.
            version: Of the key that draws the noise.
            actor: For whom.

        Returns:
            The spend, and whether it was there before: the noise is that of its key version.

        Raises:
            DataRefusedError: If the budget does not have it; nothing is spent then.
            IntegrityError: If the ledger is not what was recorded, or the home is older than what it signed.
        """
        self._past.require(product, spent=bool(self._rows.all(spend_table)))
        names = self._keys.identifiers(f"{spend_table.name}:{identity}")
        for _ in range(_ATTEMPTS - 1):
            known = self._known(product, names)
            if known is not None:
                return known, True
            new = _new(names[0], product, aggregate, version, self._clock())
            try:
                self._write(new, budget, names, actor)
            except _SpentMeanwhileError:
                continue
            self._past.keep()
            return new, False
        raise DataRefusedError(
            f"The aggregate {aggregate.name} of {product} was made by another build at the same time",
            "Run it again.",
        )

    def _write(self, new: Spend, budget: Budget, names: Collection[str], actor: str) -> None:
        def check(connection: Connection) -> None:
            # Not what was kept of them: a row may be gone that nothing in the log tells of.
            everything = self._rows.whole(connection, spend_table)
            rows = [row for row in everything if row["product"] == new.product]
            if any(row["spend_id"] in names for row in rows):
                raise _SpentMeanwhileError
            _require(_balance(budget, [*map(_read, rows), new], new.spent_at), new)

        detail = {"aggregate": new.aggregate, "epsilon": _text(new.epsilon), "delta": _text(new.delta)}
        self._rows.write(
            "privacy.spend",
            [Change(spend_table, None, _row(new))],
            actor=actor,
            subject=new.product,
            detail={**detail, "rho": _text(new.rho)},
            check=check,
        )

    def _known(self, product: str, names: Collection[str]) -> Spend | None:
        return next((each for each in self.spends(product) if each.spend_id in names), None)


class _SpentMeanwhileError(Exception):
    """Another process spent for the same table between the read and the write."""


def period(name: Period, now: datetime) -> tuple[datetime | None, datetime | None]:
    """When the period began, and when it ends; both None for one that never does."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if name == "forever":
        return None, None
    if name in _MONTHS:
        length = _MONTHS[name]
        begin = day.replace(month=(day.month - 1) // length * length + 1, day=1)
        months = begin.month - 1 + length
        return begin, begin.replace(year=begin.year + months // 12, month=months % 12 + 1)
    begin = day - timedelta(days=day.weekday() if name == "week" else 0)
    return begin, begin + timedelta(days=7 if name == "week" else 1)


def composed(budget: Budget, spends: Iterable[Spend]) -> tuple[Decimal | None, Fraction]:
    """Total epsilon and delta of several spends, rounded up; no epsilon if they cannot be added up.

    Basic: sums (Dwork et al. 2006). zCDP: the sum of rho, of which with what the groups left of delta follows
    epsilon = rho + 2 √(rho ln(1/delta)) (Bun and Steinke 2016, 1.3 and 8.8).
    """
    told = list(spends)
    delta, rho = sum((each.delta for each in told), Fraction()), sum((each.rho for each in told), Fraction())
    if budget.composition == "basic":
        if any(each.epsilon is None for each in told):
            return None, delta
        return _decimal(sum((each.epsilon or Fraction() for each in told), Fraction())), delta
    left = exact(budget.delta) - delta
    if not told:
        return Decimal(0), delta
    if left <= 0:
        return None, delta
    total, inverse = _decimal(rho), _decimal(1 / left)
    root = _UP.sqrt(_UP.multiply(total, _UP.next_plus(_UP.ln(inverse))))
    return _UP.add(total, _UP.multiply(Decimal(2), _UP.next_plus(root))), exact(budget.delta)


def _balance(budget: Budget, spends: Sequence[Spend], now: datetime) -> Balance:
    since, renews = period(budget.period, now)
    # What a clock that was put back calls the future counts as well.
    counted = tuple(each for each in spends if since is None or each.spent_at >= since)
    epsilon, delta = composed(budget, counted)
    return Balance(budget, counted, epsilon, delta, since, renews)


def _require(balance: Balance, new: Spend) -> None:
    if balance.kept:
        return
    budget = balance.budget
    before = composed(budget, [each for each in balance.spends if each is not new])
    spent = "not to be added up" if before[0] is None else f"{before[0]:.6g}"
    renews = f"renews on {balance.renews:%Y-%m-%d} (UTC)" if balance.renews else "never renews"
    raise DataRefusedError(
        f"The privacy budget of {new.product} is too small for its aggregate {new.aggregate}: "
        f"epsilon {budget.epsilon:g} and delta {budget.delta:g} for each {budget.period}, "
        f"of which epsilon {spent} and delta {float(before[1]):g} are spent; it {renews}",
        f"See: secure-platform budget {new.product}. Wait, let the aggregate spend less, or raise the "
        "budget, which whoever approves the release sees.",
    )


def _new(name: str, product: str, aggregate: Aggregate, version: int, now: datetime) -> Spend:
    epsilon = None if aggregate.epsilon is None else exact(aggregate.epsilon)
    rho = exact(aggregate.rho or 0) if epsilon is None else epsilon**2 / 2
    return Spend(name, product, aggregate.name, epsilon, rho, exact(aggregate.delta), version, now)


def _row(spend: Spend) -> Row:
    return {
        "spend_id": spend.spend_id,
        "product": spend.product,
        "aggregate": spend.aggregate,
        "epsilon": _text(spend.epsilon),
        "rho": _text(spend.rho),
        "delta": _text(spend.delta),
        "key_version": spend.key_version,
        "spent_at": spend.spent_at,
    }


def _read(row: Row) -> Spend:
    epsilon = row["epsilon"]
    return Spend(
        spend_id=row["spend_id"],
        product=row["product"],
        aggregate=row["aggregate"],
        epsilon=None if epsilon is None else Fraction(epsilon),
        rho=Fraction(row["rho"]),
        delta=Fraction(row["delta"]),
        key_version=row["key_version"],
        spent_at=as_utc(row["spent_at"]),
    )


def _text(number: Fraction | None) -> str | None:
    return None if number is None else str(number)


def _decimal(number: Fraction) -> Decimal:
    return _UP.divide(Decimal(number.numerator), Decimal(number.denominator))
