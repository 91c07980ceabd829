"""What security comes to, for Prometheus: what was denied, how long releases and notices wait."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.exposition import Family, samples
from secure_platform.orchestration.tally import Asked, Tally
from secure_platform.services import Services


def outcomes(services: Services, tally: Tally, now: datetime) -> Iterator[Family]:
    """What has come of it so far.

    Args:
        services: The rooms.
        tally: Of the audit log, as far as it was counted.
        now: The present moment.
    """
    yield from _policy(tally.decisions())
    yield _checks(services, tally.checks())
    yield from _gate(services, tally.deployed(), now)
    yield from _notices(services)
    waiting = {(): float(services.lineage.waiting() if services.lineage else 0)}
    yield Family("lineage_waiting_bytes", "Events of lineage not yet taken.", samples((), waiting))


def _policy(told: Mapping[Asked, int]) -> Iterator[Family]:
    denials: Counter[tuple[str, ...]] = Counter()
    decisions: Counter[tuple[str, ...]] = Counter()
    for asked, count in told.items():
        decisions[asked.product, "allowed" if asked.allowed else "denied"] += count
        if not asked.allowed:
            denials[asked.product, asked.action, "yes" if asked.restricted else "no"] += count
    denied = samples(("product", "action", "restricted"), denials)
    yield Family("policy_denials_total", "What the policy denied.", denied, "counter")
    said = samples(("product", "decision"), decisions)
    yield Family("policy_decisions_total", "What the policy said.", said, "counter")


def _checks(services: Services, told: Mapping[tuple[str, str], bool]) -> Family:
    """Of the products that are declared now."""
    counted: Counter[tuple[str, ...]] = Counter()
    for (asset, _), passed in told.items():
        product, _, rest = asset.partition("/")
        if product in services.products:
            counted[product, rest.partition("/")[0], "passed" if passed else "failed"] += 1
    names = ("product", "zone", "state")
    return Family("checks", "Asset checks by what they said the last time.", samples(names, counted))


def _gate(services: Services, deployed: Mapping[str, str], now: datetime) -> Iterator[Family]:
    oldest = {(name,): 0.0 for name in services.products}
    seconds: dict[tuple[str, ...], float] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    for record in services.gate.list():
        if record.product not in services.products:
            continue
        if record.state is ReleaseState.PENDING:
            age = (now - record.created_at).total_seconds()
            oldest[record.product,] = max(oldest[record.product,], age)
        live = deployed.get(record.digest)
        ends = {"decided": record.decided_at, "deployed": datetime.fromisoformat(live) if live else None}
        for until, at in ends.items():
            if at is not None:
                key = (record.product, until)
                seconds[key] = seconds.get(key, 0.0) + (at - record.created_at).total_seconds()
                counts[key] += 1
    yield Family(
        "approval_oldest_seconds",
        "How long the oldest release has been waiting for approval.",
        samples(("product",), oldest),
    )
    about, names = "Seconds from a release until it was approved, or first deployed", ("product", "until")
    yield Family("gate_seconds_sum", f"{about}: all together.", samples(names, seconds), "counter")
    yield Family("gate_seconds_count", f"{about}: how many.", samples(names, counts), "counter")


def _notices(services: Services) -> Iterator[Family]:
    delays = services.notices.delays()
    about = "Seconds from the queueing of a notice until its channel took it"
    counts = {(channel,): float(count) for channel, (count, _) in delays.items()}
    seconds = {(channel,): total for channel, (_, total) in delays.items()}
    names = ("channel",)
    yield Family("notice_delay_seconds_sum", f"{about}: all together.", samples(names, seconds), "counter")
    yield Family("notice_delay_seconds_count", f"{about}: how many.", samples(names, counts), "counter")
    told = services.alerts.warned_today()
    spent = {(name,): float(told.get(name, 0)) for name in services.products}
    names = ("product",)
    yield Family("alerts_today", "Incidents that only warn and were told today.", samples(names, spent))
    budget = {(): float(services.settings.alerts.warnings_per_day)}
    yield Family("alerts_per_day", "How many of them may be told on a day.", samples((), budget))
