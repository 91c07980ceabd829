"""The incidents hear of every check of a step, whether it is wrong or right again.

A step that is killed before reporting does so when it is run again: it finds its snapshot and the same
verdicts.
"""

from collections.abc import Sequence
from typing import Final

from secure_platform.monitor.incident import Severity, Sighting
from secure_platform.orchestration.steps.context import CheckOutcome, StepContext, StepOutcome
from secure_platform.services import Services
from secure_platform.store.snapshot import Snapshot

DBT: Final = "dbt"


def reported(context: StepContext, outcome: StepOutcome) -> StepOutcome:
    """The same outcome, after its checks were reported to the incidents."""
    report_snapshot(context.services, outcome.snapshot, outcome.checks)
    return outcome


def report_snapshot(services: Services, snapshot: Snapshot, checks: Sequence[CheckOutcome]) -> None:
    """Report the checks on a snapshot to the incidents; a mart's tests count as one."""
    tests = snapshot.verdicts.get(DBT)
    judged = [*checks, *([CheckOutcome(DBT, tests.passed)] if tests else [])]
    place = (str(snapshot.zone), snapshot.dataset, snapshot.snapshot_id)
    services.incidents.report(snapshot.product, [sighting(place, check) for check in judged])


def sighting(place: tuple[str, str, str], check: CheckOutcome, *, blocking: bool = False) -> Sighting:
    """What a check said about a snapshot.

    Args:
        place: Zone, dataset and snapshot.
        check: Its outcome.
        blocking: Whether deployments wait for somebody if it failed.
    """
    zone, dataset, snapshot_id = place
    return Sighting(
        zone,
        dataset,
        check.name,
        snapshot_id,
        state=_state(check),
        blocking=blocking and not check.passed,
        metrics=tuple(each["metric"] for each in check.detail.get("unusual", ())),
    )


def _state(check: CheckOutcome) -> Severity | None:
    if check.passed:
        return None
    said = check.detail.get("state")
    return "warn" if said == "warn" or (said is None and check.severity == "WARN") else "fail"
