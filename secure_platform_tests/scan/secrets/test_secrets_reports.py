"""Baselines, JSON and SARIF: what leaves the scanner says where and why, and never what."""

import json
from dataclasses import replace
from datetime import date

import pytest
from secret_samples import sample

from secure_platform.errors import UsageError
from secure_platform.scan.report import Reported, Section, Skipped, document
from secure_platform.scan.sarif import sarif
from secure_platform.scan.secrets.baseline import Baseline, dump_baseline, parse_baseline, sift
from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.scanner import SecretScanner

RULES = own_rules()
KEY = bytes(range(32))
SCANNER = SecretScanner(RULES, KEY, minimum=0.0)
TODAY, LATER, BEFORE = date(2026, 3, 1), date(2026, 4, 1), date(2026, 2, 1)
TOKENS = [sample(RULES.rules[name]).strip().decode() for name in ("github-pat", "npm-token")]
FINDINGS = [Reported.of_secret(each) for each in SCANNER.text("\n".join(TOKENS), "a b/ü.txt")]


def test_no_part_of_a_secret_is_in_any_output() -> None:
    texts = {name: sample(rule).decode() for name, rule in RULES.rules.items()}
    for name, text in texts.items():
        findings = [Reported.of_secret(each) for each in SCANNER.text(text, "a.txt")]
        (engine_hit, *_) = [hit for hit in SCANNER.engine.hits(text.encode(), "a.txt") if hit.rule.id == name]
        secret = engine_hit.secret.decode()
        report = Section(findings=findings)
        sifted = sift(findings, (), TODAY)
        told = json.dumps([document(report, sifted), sarif(findings, RULES, "1")]) + repr(findings)
        told += repr(engine_hit).replace(repr(engine_hit.rule), "")
        told += dump_baseline(Baseline(KEY), findings, "known", LATER)
        parts = {secret[start : start + 6] for start in range(len(secret) - 5)}
        words = {part for part in parts if any(c.isdigit() for c in part) and any(c.isalpha() for c in part)}
        assert not [part for part in words if part in told], name


def test_equal_secrets_have_equal_fingerprints_under_one_key_only() -> None:
    again = SCANNER.text("here too: " + TOKENS[0], "other.txt")
    assert again[0].fingerprint == FINDINGS[0].fingerprint
    assert FINDINGS[0].fingerprint != FINDINGS[1].fingerprint
    other = SecretScanner(RULES, bytes(32)).text(TOKENS[0])
    assert other[0].fingerprint != FINDINGS[0].fingerprint


def test_sarif_names_rule_place_and_fingerprint() -> None:
    archived = replace(FINDINGS[0], source="x.zip!/a.txt")
    body = sarif([*FINDINGS, archived], RULES, "1.2.3")
    (run,) = body["runs"]
    assert (body["version"], run["tool"]["driver"]["version"]) == ("2.1.0", "1.2.3")
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["github-pat", "npm-token"]
    first, second, third = run["results"]
    assert run["tool"]["driver"]["rules"][second["ruleIndex"]]["id"] == second["ruleId"] == "npm-token"
    physical = first["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "a%20b/%C3%BC.txt"
    assert physical["region"] == {
        "startLine": 1,
        "startColumn": 1,
        "endLine": 1,
        "endColumn": len(TOKENS[0]) + 1,
    }
    assert first["level"] == "error"
    assert [*first["partialFingerprints"].values()] == [FINDINGS[0].fingerprint]
    (inside,) = third["locations"]
    assert inside["physicalLocation"] == {"artifactLocation": {"uri": "x.zip"}}
    assert inside["logicalLocations"] == [{"fullyQualifiedName": "a.txt", "kind": "resource"}]


@pytest.mark.parametrize(
    ("source", "uri"),
    [
        ("javascript:alert(1).csv", "javascript%3Aalert%281%29.csv"),
        ("[x](data:,y)/\udcff.csv", "%5Bx%5D%28data%3A%2Cy%29/%FF.csv"),
        ("s3://bucket/2026:01.csv", "s3://bucket/2026:01.csv"),
        ("secret://env/URL/public.users", "secret://env/URL/public.users"),
    ],
    ids=["scheme", "link", "object", "database"],
)
def test_no_name_is_a_link_in_sarif(source: str, uri: str) -> None:
    named = replace(
        FINDINGS[0],
        source=f"{source}!/\x1b[2J\u202e",
        column="[pay here](https://evil.example)\n\u202e",
        spans=(),
    )
    (result,) = sarif([named], RULES, "1")["runs"][0]["results"]
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == uri
    assert r"column \[pay here\](https://evil.example)\\n\\u202e (" in result["message"]["text"]
    told = json.dumps(result, ensure_ascii=False)
    assert told.isprintable()
    assert told.encode()


def test_the_json_document_has_its_documented_members() -> None:
    report = Section(findings=FINDINGS, skipped=[Skipped("p.png", "binary")])
    body = document(report, sift(FINDINGS, (), TODAY))
    assert body["schema"] == "secure-platform/scan/1"
    assert body["skipped"] == [{"source": "p.png", "reason": "binary"}]
    first = body["findings"][0]
    assert {"source", "column", "info_type", "confidence", "rows", "ratio", "reasons", "spans"} <= {*first}
    assert (first["source"], first["info_type"]) == ("a b/ü.txt", "SECRET_TOKEN")
    assert first["spans"][0]["line"] == 1


def excused(findings: list[Reported], until: date) -> Baseline:
    return parse_baseline(dump_baseline(Baseline(KEY), findings, "rotated", until), "b.yaml")


def test_a_baseline_excuses_until_its_day_and_tells_what_it_no_longer_excuses() -> None:
    known = excused(FINDINGS[:1], LATER)
    assert known.key == KEY
    sifted = sift(FINDINGS, known.excuses, TODAY)
    assert (list(sifted.open), list(sifted.excused)) == (FINDINGS[1:], FINDINGS[:1])
    assert sift(FINDINGS, known.excuses, LATER).excused
    past = sift(FINDINGS, excused(FINDINGS, BEFORE).excuses, TODAY)
    assert (len(past.open), len(past.expired)) == (2, 2)
    assert len(sift([], known.excuses, TODAY).unused) == 1


def test_a_baseline_grows_and_keeps_what_it_said() -> None:
    known = excused(FINDINGS[:1], LATER)
    grown = parse_baseline(dump_baseline(known, FINDINGS[1:], "a test key", BEFORE), "b.yaml")
    assert {each.reason for each in grown.excuses} == {"rotated", "a test key"}
    assert grown.key == known.key


def test_an_excuse_is_for_one_rule() -> None:
    known = excused([replace(FINDINGS[0], rule="other")], LATER)
    assert len(sift(FINDINGS, known.excuses, TODAY).open) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("baseline/v1", "baseline/v2"),
        ("marked_by", "key"),
        (KEY.hex(), KEY.hex()[1:]),
        ("reason: rotated", "reason: ''"),
        ("rule:", "rules:"),
        ("2026-04-01", "soon"),
        (FINDINGS[0].fingerprint, FINDINGS[0].fingerprint[1:]),
        ("findings:\n", "findings:\n- &a 1\n- *a\n"),
        ("findings:\n", "findings: [\n"),
    ],
    ids=["schema", "member", "key", "reason", "rule", "day", "mark", "alias", "syntax"],
)
def test_a_baseline_that_is_not_understood_is_refused(old: str, new: str) -> None:
    text = dump_baseline(Baseline(KEY), FINDINGS[:1], "rotated", LATER)
    assert old in text
    with pytest.raises(UsageError, match=r"b\.yaml"):
        parse_baseline(text.replace(old, new), "b.yaml")


def test_an_excuse_that_is_there_twice_is_refused() -> None:
    text = dump_baseline(Baseline(KEY), FINDINGS[:1], "rotated", LATER)
    entry = text[text.index("- fingerprint") :]
    with pytest.raises(UsageError, match="twice"):
        parse_baseline(text + entry, "b.yaml")
