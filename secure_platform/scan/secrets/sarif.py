"""SARIF 2.1.0 for code hosts: places and fingerprints, no snippet and so no part of a secret."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from secure_platform.scan.secrets.findings import FilePlace, SecretFinding
from secure_platform.scan.secrets.rules import RuleSet

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT: Final = "securePlatformSecret/v1"
_ERROR: Final = 0.8


def sarif(findings: Iterable[SecretFinding], ruleset: RuleSet, version: str) -> dict[str, Any]:
    """The findings as one run of one tool.

    Args:
        findings: In the order they shall have.
        ruleset: Where the rules are described.
        version: Of the tool.
    """
    findings = list(findings)
    used = sorted({finding.rule for finding in findings})
    places = {rule: place for place, rule in enumerate(used)}
    driver = {
        "name": "secure_platform",
        "version": version,
        "rules": [_rule(rule, ruleset) for rule in used],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, places[finding.rule]) for finding in findings],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: str, ruleset: RuleSet) -> dict[str, Any]:
    described = ruleset.rules[rule]
    text = described.description or rule
    return {"id": rule, "shortDescription": {"text": text}, "properties": {"tags": ["security", "secret"]}}


def _result(finding: SecretFinding, place: int) -> dict[str, Any]:
    grounds = "; ".join(finding.reasons)
    return {
        "ruleId": finding.rule,
        "ruleIndex": place,
        "level": "error" if finding.confidence >= _ERROR else "warning",
        "message": {"text": f"{finding.description or finding.rule} ({grounds})."},
        "locations": [_location(finding.place)],
        "partialFingerprints": {FINGERPRINT: finding.fingerprint},
        "properties": {"confidence": finding.confidence, "entropy": finding.entropy},
    }


def _location(place: FilePlace) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(place.path)}}
    if place.line:
        physical["region"] = {
            "startLine": place.line,
            "startColumn": place.column,
            "endLine": place.end_line,
            "endColumn": place.end_column,
        }
    return {"physicalLocation": physical}
