"""Who approves is told of every row that stayed behind, and who builds why too many would."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from secure_platform.cli.build import render_failures
from secure_platform.cli.output import Output
from secure_platform.cli.review import render_review
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps.behind import Reached, share
from secure_platform.orchestration.steps.exchange import AssetEvent, RunReport
from secure_platform.orchestration.steps.review import Checked, checks, reached
from secure_platform.release.diff import diff_manifests
from secure_platform.web import rendering
from secure_platform.web.pages.review import left_out_plot
from secure_platform.web.plots import BarPlot

ANONYMITY: Final = {
    "rows": 399,
    "suppressed": 20,
    "classes": 15,
    "k": 10,
    "l": 3,
    "t": "0.2500",
    "information_lost": "0.0763",
    "asked": {"k": 5, "l": 2, "at_most": "0.0700"},
}
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
RECORD: Final = ReleaseRecord(
    digest="sha256:" + "0" * 64,
    product="shop",
    number=1,
    environment="test",
    state=ReleaseState.PENDING,
    base=None,
    classification="internal",
    requested_by="dana",
    run_id="run",
    input_key="",
    approver_groups=(),
    second_approver_groups=(),
    created_at=NOW,
    expires_at=NOW,
    decided_at=None,
)


def passed(**detail: Any) -> dict[str, Any]:
    return {"passed": True, "detail": detail}


def manifest(anonymity: dict[str, Any] | None = ANONYMITY) -> dict[str, Any]:
    told = {} if anonymity is None else {"anonymity": anonymity}
    return {
        "profile": "census",
        "tables": {},
        "contracts": {},
        "plan": {"document": {"profile": "census", "as_of": "2026-01-01", "datasets": {}}},
        "verdicts": {
            "raw/people": {"validate": passed(invalid_rows=1)},
            "protected/people": {
                "rows": passed(rows=298, orphans=0, stayed_behind=101, valid_rows_given=399, **told)
            },
            "protected/visits": {
                "rows": passed(rows=870, orphans=2, stayed_behind=326, valid_rows_given=1198)
            },
            "protected/places": {"rows": passed(rows=9, orphans=0, valid_rows_given=9)},
            "marts/people": {"residual": passed(findings=[])},
        },
    }


@dataclass(frozen=True)
class Shown:
    """As much of a review as its checks are drawn from."""

    record: ReleaseRecord
    checks: tuple[Checked, ...]
    left_out: BarPlot
    reached: tuple[Reached, ...]


def page(manifest: dict[str, Any]) -> str:
    checked = tuple(checks(manifest))
    shown = Shown(RECORD, checked, left_out_plot(checked), tuple(reached(manifest)))
    drawn = rendering.loaded("checks.html").module
    return str(drawn.checks(shown, ""))  # type: ignore[attr-defined]


def test_every_row_that_stayed_behind_is_counted() -> None:
    counts = {each.snapshot: (each.left_out, each.stayed_behind) for each in checks(manifest())}
    assert counts == {
        "raw/people": (1, None),
        "protected/people": (0, 101),
        "protected/visits": (2, 326),
        "protected/places": (0, None),
        "marts/people": (None, None),
    }
    (told,) = reached(manifest())
    assert (told.dataset, told.k, told.l, told.t, told.lost) == ("people", 10, 3, 0.25, 0.0763)
    assert (told.wanted, told.behind) == ("k=5, l=2", "20 of 399, at most 7 %")
    assert list(reached(manifest(None))) == []


def test_the_command_line_draws_them(capsys: pytest.CaptureFixture[str]) -> None:
    render_review(Output(), RECORD, manifest(), diff_manifests(None, manifest()))
    rows = [" ".join(row.split()) for row in capsys.readouterr().out.splitlines()]
    assert "protected/people 0 101 rows" in rows
    assert "protected/visits 2 326 rows" in rows
    assert "people k=5, l=2 10 3 0.25 7.63 % 20 of 399, at most 7 %" in rows


def test_the_page_draws_them_and_says_that_none_was_left_out_only_then() -> None:
    drawn = page(manifest())
    assert "No row was left out" not in drawn
    assert "protected/visits set aside: invalid, or they point at nothing 2, stayed behind" in drawn
    for words in ("k=5, l=2", "7.63 %", "20 of 399, at most 7 %", ">0.25<", ">101<", ">326<"):
        assert words in drawn
    whole = manifest(None)
    whole["verdicts"] = {"protected/people": {"rows": passed(rows=9, orphans=0, stayed_behind=0)}}
    assert "No row was left out." in page(whole)
    assert "information lost" not in page(whole)


@pytest.mark.parametrize(
    ("check", "detail", "said"),
    [
        (
            "rows",
            {"rows": 0, "orphans": 0, "stayed_behind": 9, "valid_rows_given": 9}
            | {"anonymity": {**ANONYMITY, "rows": 9, "suppressed": 9, "k": 0, "l": 0}},
            "9 of 9 rows would stay behind for k=5, l=2; at most 7 % may 9",
        ),
        (
            "rows",
            {"rows": 5, "orphans": 1, "valid_rows_given": 9},
            "rows that are neither kept nor accounted for 3",
        ),
        ("references", {"orphans": 2, "unresolved": 4}, "references a row that does not exist 4"),
    ],
)
def test_a_refusal_for_rows_gives_its_own_reason(
    check: str, detail: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    event = AssetEvent(
        "shop/protected/people", "checked", check, passed=False, blocking=True, metadata=detail
    )
    render_failures(Output(), RunReport("run", succeeded=False, events=(event,)))
    printed = " ".join(capsys.readouterr().out.split())
    assert f"shop/protected/people {check} {said}" in printed
    assert ("secure-platform contract levels shop people" in printed) == ("anonymity" in detail)
    assert printed.count("does not exist") == (check == "references")


def test_a_share_is_told_to_a_hundredth_of_a_per_cent() -> None:
    assert [share(each) for each in (0, 0.07, 0.4, 0.12345, 1)] == ["0 %", "7 %", "40 %", "12.35 %", "100 %"]
