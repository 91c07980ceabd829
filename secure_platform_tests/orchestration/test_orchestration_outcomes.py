"""Outcomes by month, against numbers that were counted by hand."""

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from contract_body import contract_body
from hypothesis import given
from hypothesis import strategies as st
from small_product import product_context, prop

from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.monitor.incident import Incident, Kind
from secure_platform.orchestration.outcomes import MONTHS, months, waivers
from secure_platform.orchestration.tally import Asked

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def incident(at: datetime, kind: Kind = "data", **more: object) -> Incident:
    known: dict[str, object] = {
        "incident_id": "i",
        "product": "shop",
        "kind": kind,
        "state": "open",
        "severity": "warn",
        "blocking": False,
        "release": None,
        "signals": (),
        "revision": 1,
        "opened_at": at,
        "worse_at": at,
    }
    return Incident(**{**known, **more})  # type: ignore[arg-type]


def release(digest: str, at: datetime, decided: datetime | None) -> ReleaseRecord:
    state = ReleaseState.APPROVED if decided else ReleaseState.PENDING
    return ReleaseRecord(
        digest, "shop", 1, "production", state, None, "internal", "dana", "run", "key", (), at, NOW, decided
    )


def test_a_month_counts_what_began_in_it() -> None:
    began = datetime(2026, 2, 27, tzinfo=UTC)
    incidents = [
        incident(began, acknowledged_at=began + 2 * HOUR, acknowledged_by="sam", state="acknowledged"),
        incident(began, "security", acknowledged_at=began + 10 * HOUR, acknowledged_by="sam"),
        incident(began, state="resolved", closed_at=began + HOUR, closed_by="service:monitor"),
        incident(began),
        incident(NOW),
    ]
    asked = {
        Asked("2026-02", "shop", "data_reveal", allowed=False, restricted=True): 3,
        Asked("2026-02", "shop", "build", allowed=False, restricted=False): 1,
        Asked("2026-02", "shop", "build", allowed=True, restricted=False): 12,
        Asked("2026-03", "shop", "build", allowed=True, restricted=True): 5,
    }
    releases = [
        release("a", began, began + HOUR),
        release("b", began, began + 3 * HOUR),
        release("c", NOW, None),
    ]
    deployed = {"a": (began + 5 * HOUR).isoformat(), "gone": NOW.isoformat()}
    present, before, *earlier = months(NOW, incidents, asked, releases, deployed)
    assert (present.name, before.name, len(earlier)) == ("2026-03", "2026-02", MONTHS - 2)
    assert dict(before.incidents) == {"data": 3, "security": 1}
    assert (before.opened, before.contained, before.ended, before.contain) == (4, 2, 1, 6 * HOUR)
    assert (before.allowed, before.denied, before.restricted, before.share) == (12, 4, 3, 0.75)
    assert (before.decided, before.deployed) == (2 * HOUR, 5 * HOUR)
    assert (present.opened, present.contained, present.share, present.decided) == (1, 0, 1.0, None)
    assert all(not each.opened and each.share is None for each in earlier)


@given(st.integers(946_684_800, 4_102_444_800))
def test_twelve_months_follow_each_other(seconds: int) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    names = [each.name for each in months(now, [], {}, [], {})]
    assert names[0] == f"{now:%Y-%m}"
    firsts = [date.fromisoformat(f"{name}-01") for name in names]
    assert all((later - timedelta(days=1)).replace(day=1) == former for later, former in pairwise(firsts))
    assert len(set(names)) == MONTHS


def test_months_are_those_of_utc() -> None:
    east = timezone(timedelta(hours=14))
    present, former, *_ = months(NOW, [incident(datetime(2026, 3, 1, 5, tzinfo=east))], {}, [], {})
    assert (present.opened, former.opened) == (0, 1)


@pytest.mark.parametrize(("days", "soon"), [(-1, True), (0, True), (30, True), (31, False)])
def test_waivers_are_told_with_the_days_that_are_left(tmp_path: Path, days: int, *, soon: bool) -> None:
    today = date(2026, 3, 5)
    waiver = {"reason": "a study", "approver": "dpo", "expires": str(today + timedelta(days=days))}
    mail = prop("mail", "string", "confidential", infoType="EMAIL", protect="keep")
    mail["customProperties"].append({"property": "waiver", "value": waiver})
    key = prop("id", "integer", "confidential", primaryKey=True, infoType="RECORD_ID")
    context = product_context(tmp_path, "gdpr_pseudonymous", [contract_body("people", [key, mail])], {})
    found = waivers([context.product], today)
    assert [(each.column, each.left, each.soon, each.approver) for each in found] == [
        ("people.mail", days, soon, "dpo")
    ]
