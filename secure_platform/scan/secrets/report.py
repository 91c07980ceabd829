"""What was found, for programs: a versioned JSON document, and SARIF 2.1.0 for code hosts.

Both hold places, reasons and fingerprints; neither a snippet nor any other part of a secret.
"""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from secure_platform.scan.secrets.archives import SEPARATOR
from secure_platform.scan.secrets.baseline import Sifted
from secure_platform.scan.secrets.findings import FilePlace, SecretFinding
from secure_platform.scan.secrets.rules import RuleSet
from secure_platform.scan.secrets.tree import TreeReport

SCHEMA: Final = "secure_platform/scan/v1"
SARIF_SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
FINGERPRINT: Final = "securePlatformSecret/v1"
_ERROR: Final = 0.8


def document(report: TreeReport, sifted: Sifted) -> dict[str, Any]:
    """The JSON document: open findings, what a baseline had to say, and what was not read."""
    return {
        "schema": SCHEMA,
        "findings": [_record(finding) for finding in sifted.open],
        "excused": len(sifted.excused),
        "expired": [excuse.fingerprint for excuse in sifted.expired],
        "unused": [excuse.fingerprint for excuse in sifted.unused],
        "skipped": [{"source": each.path, "reason": each.why} for each in report.skipped],
        "files": report.files,
        "bytes": report.bytes,
    }


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
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _record(finding: SecretFinding) -> dict[str, Any]:
    place = finding.place
    span = {
        "line": place.line,
        "column": place.column,
        "end_line": place.end_line,
        "end_column": place.end_column,
    }
    return {
        "source": place.path,
        "column": None,
        "info_type": finding.info_type,
        "rule": finding.rule,
        "confidence": finding.confidence,
        "rows": 1,
        "ratio": None,
        "reasons": list(finding.reasons),
        "spans": [span] if place.line else [],
        "fingerprint": finding.fingerprint,
    }


def _rule(rule: str, ruleset: RuleSet) -> dict[str, Any]:
    described = ruleset.rules[rule]
    text = described.description or rule
    return {
        "id": rule,
        "shortDescription": {"text": text},
        "properties": {"tags": ["security", "secret", described.info_type]},
    }


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
    """A code host knows the archive, not what is in it."""
    file, inside, member = place.path.partition(SEPARATOR)
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(file)}}
    if inside:
        return {
            "physicalLocation": physical,
            "logicalLocations": [{"fullyQualifiedName": member, "kind": "resource"}],
        }
    if place.line:
        physical["region"] = {
            "startLine": place.line,
            "startColumn": place.column,
            "endLine": place.end_line,
            "endColumn": place.end_column,
        }
    return {"physicalLocation": physical}
