"""No value of a confidential column is in a draft, and nothing of an extreme or a rare value of any."""

from pathlib import Path

import pytest
from draft_support import drafts, files, loaded

from secure_platform.errors import DataRefusedError
from secure_platform.scan.draft.document import contract_text

CANARIES = {
    "first_name": "Zebrafishina",
    "email": "quagga.canary@zq-canary.example",
    "ssn": "219-09-9999",
    "birth_date": "1931-07-23",
    "notes": "call quagga.canary@zq-canary.example about it",
    "diagnosis": "Zebrafish syndrome",
    "password": "hunter-Zq77-canary",
}


def people(rows: int = 80) -> str:
    lines = [",".join(["id", *CANARIES, "amount", "tier", "segment"])]
    for number in range(rows):
        day = f"19{40 + number % 59}-{1 + number % 12:02}-{1 + number % 28:02}"
        cells = [
            f"Name{number}",
            f"someone{number}@example.org",
            f"219-09-{number:04}",
            day,
            "nothing to say" if number % 3 else f"mail someone{number}@example.org",
            "Flu" if number % 2 else "Cold",
            f"p4ss-{number:05}-{number * 7919 % 1000}",
        ]
        if number == rows // 2:
            cells = [*CANARIES.values()]
        tier, segment = ("gold", "basic")[number % 2], ("Flu", "Other")[number % 2]
        lines.append(",".join([str(number), *cells, f"{1 + number * 37 % 899}.37", tier, segment]))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("profile", ["gdpr_pseudonymous", "hipaa_safe_harbor"])
def test_no_value_of_a_confidential_column_is_in_a_draft(profile: str, tmp_path: Path) -> None:
    text = people()
    (draft,) = drafts(files(tmp_path, {"people.csv": text}), profile).values()
    closed = [place for place, column in enumerate(draft.columns) if not column.is_open]
    assert {draft.columns[place].name for place in closed} >= CANARIES.keys()
    told = contract_text(draft, "team") + repr(draft.columns) + repr(draft.doubts)
    values = {row.split(",")[place] for row in text.splitlines()[1:] for place in closed}
    assert [value for value in values if len(value) > 4 and value in told] == []
    assert not any(canary in told for canary in CANARIES.values())


def test_limits_are_powers_of_ten_and_lists_are_of_common_values_that_nothing_closed_has(
    tmp_path: Path,
) -> None:
    (draft,) = drafts(files(tmp_path, {"people.csv": people()})).values()
    amount = draft.column("amount")
    assert (amount.minimum, amount.maximum) == (0, 10_000)
    assert draft.column("tier").enum == ("basic", "gold")
    assert not draft.column("diagnosis").is_open
    assert draft.column("segment").enum is None


def test_a_confidential_measure_has_no_limits(tmp_path: Path) -> None:
    rows = "".join(f"{n},{580 + n},{n}.5\n" for n in range(40))
    (draft,) = drafts(files(tmp_path, {"t.csv": f"id,credit_score,amount\n{rows}"})).values()
    score, amount = draft.column("credit_score"), draft.column("amount")
    assert not score.is_open
    assert (score.minimum, score.maximum, amount.minimum) == (None, None, 0)


def test_a_rare_value_and_names_of_people_are_not_listed(tmp_path: Path) -> None:
    rows = [f"{'ab'[n % 2]},{['Ada Byron', 'Alan Turing'][n % 2]}" for n in range(60)]
    rare = "\n".join(["kind,handled_by_x", *rows, "zq,Ada Byron"]) + "\n"
    (draft,) = drafts(files(tmp_path, {"t.csv": rare})).values()
    assert [column.enum for column in draft.columns] == [None, None]


def test_dates_tell_no_more_than_a_decade(tmp_path: Path) -> None:
    rows = "\n".join(f"{n},201{n % 9 + 1}-03-0{n % 9 + 1}" for n in range(60))
    (draft,) = drafts(files(tmp_path, {"t.csv": f"n,shipped\n{rows}\n"})).values()
    shipped = draft.column("shipped")
    assert (shipped.minimum, shipped.maximum) == ("2010-01-01", None)


@pytest.mark.parametrize(
    "text",
    [
        "alice@example.org,4111111111111111,Berlin\nbob@example.org,4012888888881881,Paris\n",
        "1,2020-01-01,x\n2,2020-01-02,y\n",
        "Berlin,red\nParis,blue\nBerlin,red\n",
    ],
    ids=["addresses", "numbers and dates", "words that come again"],
)
def test_a_file_without_a_header_is_refused_and_not_quoted(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataRefusedError, match="has no header") as refused:
        drafts(files(tmp_path, {"t.csv": text}))
    assert not any(cell in str(refused.value) for cell in text.splitlines()[0].split(",") if len(cell) > 1)


def test_what_is_kept_would_pass_the_residual_checks(tmp_path: Path) -> None:
    rows = "".join(f"{n},badge-{n:08},came with badge-{n:08}\n" for n in range(40))
    (draft,) = drafts(files(tmp_path, {"t.csv": f"id,employee_id,remark\n{rows}"})).values()
    remark = draft.column("remark")
    assert remark.protect
    assert any("hold what a protected column holds" in doubt for doubt in remark.doubts)
    loaded(draft)
