"""One report for personal data and secrets: its schema holds, and names from the data stay names."""

import html
import json
import re
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import secure_platform.scan.report as module
from secure_platform.scan.columns import Finding
from secure_platform.scan.page import page
from secure_platform.scan.report import Reported, Scanned, Section, Skipped, Span, document
from secure_platform.scan.sarif import sarif
from secure_platform.scan.secrets.baseline import Sifted, sift
from secure_platform.scan.secrets.document import own_rules

KEY = bytes(32)
MADE = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCHEMA = json.loads((Path(module.__file__).parent / "report.schema.json").read_text("utf-8"))
HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202e{{ 7*7 }}</style>"


def in_column(column: str, info_type: str, *, source: str = "a.csv", confidence: float = 0.9) -> Reported:
    finding = Finding(column, info_type, 3, 0.75, confidence, ("column name", "cell format"))
    return Reported.of_column(source, finding, KEY, column=column)


SECRET = Reported(
    "b.py", None, "SECRET_TOKEN", "github-pat", 0.95, 1, None, ("the format",), "0" * 32, (Span(3, 1, 3, 9),)
)
TEXT = replace(
    SECRET, info_type="EMAIL", rule="EMAIL", rows=120, spans=tuple(Span(n, 1, n, 5) for n in range(1, 101))
)
SECTION = Section(
    [in_column("email", "EMAIL"), in_column("ssn", "US_SSN", confidence=0.6), SECRET, TEXT],
    [
        Scanned("a.csv", "table", ("email", "ssn", "n"), 4),
        Scanned("b.py", "text", bytes=9),
        Scanned("c.csv", "table", ("x",), 0),
    ],
    [Skipped("d.bin", "binary")],
)


def told(section: Section) -> dict[str, Any]:
    said: dict[str, Any] = document(section, sift(section.findings, (), date(2026, 3, 1)))
    return dict(json.loads(json.dumps(said)))


def test_the_document_keeps_its_published_schema() -> None:
    validator = jsonschema_rs.Draft202012Validator(SCHEMA)
    validator.validate(told(SECTION))
    validator.validate(told(Section()))
    assert SCHEMA["properties"]["schema"]["const"] == module.SCHEMA
    assert SCHEMA["$defs"]["finding"]["properties"]["spans"]["maxItems"] == module.SPANS


@pytest.mark.parametrize("member", ["value", "match", "sample"])
def test_the_schema_has_no_place_for_a_value(member: str) -> None:
    said = told(SECTION)
    said["findings"][0][member] = "x"
    assert not jsonschema_rs.Draft202012Validator(SCHEMA).is_valid(said)


def test_a_section_comes_back_from_json_as_it_was() -> None:
    assert Section.from_json(json.loads(json.dumps(SECTION.to_json()))) == SECTION


def test_a_finding_in_a_column_is_known_again_under_one_key_only() -> None:
    first = in_column("email", "EMAIL")
    assert first.fingerprint == in_column("email", "EMAIL", confidence=0.5).fingerprint
    others = [
        in_column("mail", "EMAIL"),
        in_column("email", "URL"),
        in_column("email", "EMAIL", source="b.csv"),
    ]
    assert first.fingerprint not in {each.fingerprint for each in others}
    finding = Finding("email", "EMAIL", 3, 0.75, 0.9, ())
    assert (
        Reported.of_column("a.csv", finding, bytes(31) + b"1", column="email").fingerprint
        != first.fingerprint
    )


def test_sarif_has_columns_as_logical_places_and_texts_by_their_lines() -> None:
    (run,) = sarif(SECTION.findings, own_rules(), "1")["runs"]
    column, weak, secret, *texts = run["results"]
    assert column["locations"] == [
        {
            "physicalLocation": {"artifactLocation": {"uri": "a.csv"}},
            "logicalLocations": [{"name": "email", "kind": "member"}],
        }
    ]
    assert (column["level"], weak["level"]) == ("error", "warning")
    assert secret["ruleId"] == "github-pat"
    assert [each["locations"][0]["physicalLocation"]["region"]["startLine"] for each in texts] == [
        *range(1, 101)
    ]
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"]: rule["properties"]["tags"][1] for rule in rules} == {
        "EMAIL": "privacy",
        "US_SSN": "privacy",
        "github-pat": "secret",
    }
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in run["results"])


def test_the_page_says_what_is_where_and_what_was_not_read() -> None:
    made = page(told(SECTION), made=MADE)
    words = html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", made, flags=re.DOTALL))
    parts = ["E-mail address", "US Social Security number", "restricted", "75 %", "0.60", "4 rows", "c.csv"]
    parts += ["d.bin", "binary", "column name; cell format", "github-pat", "2026-03-01 at 12:00 UTC"]
    assert [part for part in parts if part not in words] == []
    assert 'class="heat-4">0.90' in made
    assert 'class="heat-2">0.60' in made


def test_the_page_needs_nothing_from_anywhere_and_runs_nothing() -> None:
    made = page(told(SECTION), made=MADE)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', made)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"<script|<link|<img|\ssrc=|@import|url\(|https?://|\son\w+=|\sstyle=", made)


def test_hostile_names_are_shown_and_obeyed_nowhere() -> None:
    section = Section(
        [
            in_column(HOSTILE, "EMAIL", source=HOSTILE),
            replace(TEXT, source=HOSTILE + "2", reasons=(HOSTILE,), rule=HOSTILE),
        ],
        [Scanned(HOSTILE, "table", (HOSTILE, *(f"{HOSTILE}{n}" for n in range(60))), 1)],
        [Skipped(HOSTILE, HOSTILE)],
    )
    made = page(told(section), made=MADE)
    assert made.count("<img") == 0
    assert made.count("</style>") == 1
    assert "\u202e" not in made
    assert "{{ 7*7 }}" in html.unescape(made)
    assert html.escape("<img src=x onerror=alert(1)>") in made


def test_an_empty_report_has_a_page_too() -> None:
    made = page(told(Section()), made=MADE)
    assert "Nothing was found" in made
    assert "Everything was read" in made


def test_the_sifted_findings_alone_are_on_the_page() -> None:
    excused = document(SECTION, Sifted((SECRET,), (TEXT,), (), ()))
    made = page(excused, made=MADE)
    assert "github-pat" in made
    assert "E-mail address" not in made
    assert asdict(SECRET)["fingerprint"] not in made
