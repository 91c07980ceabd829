"""The findings in SARIF 2.1.0, for code hosts: places, reasons and fingerprints, no snippet.

A finding in a column is a result on the file that holds the table, with the column as its logical location;
one in a text is a result for each place that is told.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

from secure_platform.plain import visible
from secure_platform.scan.report import Reported, Span
from secure_platform.scan.secrets.archives import SEPARATOR
from secure_platform.scan.secrets.rules import RuleSet
from secure_platform.taxonomy.info_types import info_types

SARIF_SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
FINGERPRINT: Final = "securePlatform/v1"
_ERROR: Final = 0.8
_SCHEME: Final = "://"


def sarif(findings: Iterable[Reported], ruleset: RuleSet, version: str) -> dict[str, Any]:
    """The findings as one run of one tool.

    Args:
        findings: In the order they shall have.
        ruleset: Where the rules for secrets are described.
        version: Of the tool.
    """
    findings = list(findings)
    rules = {finding.rule: finding.info_type for finding in sorted(findings, key=lambda each: each.rule)}
    places = {rule: place for place, rule in enumerate(rules)}
    driver = {
        "name": "secure_platform",
        "version": version,
        "rules": [_rule(rule, info_type, ruleset) for rule, info_type in rules.items()],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [result for finding in findings for result in _results(finding, places, ruleset)],
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: str, info_type: str, ruleset: RuleSet) -> dict[str, Any]:
    kind = "secret" if info_types()[info_type].group == "secret" else "privacy"
    return {
        "id": rule,
        "shortDescription": {"text": _described(rule, ruleset)},
        "properties": {"tags": ["security", kind, info_type]},
    }


def _described(rule: str, ruleset: RuleSet) -> str:
    if rule in ruleset.rules:
        return ruleset.rules[rule].description or rule
    return info_types()[rule].title


def _results(finding: Reported, places: dict[str, int], ruleset: RuleSet) -> Iterator[dict[str, Any]]:
    grounds = "; ".join(finding.reasons)
    where = f" in {finding.rows} cells of column {finding.column}" if finding.column is not None else ""
    for span in finding.spans or (None,):
        yield {
            "ruleId": finding.rule,
            "ruleIndex": places[finding.rule],
            "level": "error" if finding.confidence >= _ERROR else "warning",
            "message": {"text": _message(f"{_described(finding.rule, ruleset)}{where} ({grounds}).")},
            "locations": [_location(finding, span)],
            "partialFingerprints": {FINGERPRINT: finding.fingerprint},
            "properties": {"confidence": finding.confidence, "rows": finding.rows, "ratio": finding.ratio},
        }


def _message(text: str) -> str:
    """The text with nothing in it that a viewer takes for a link (SARIF 3.11.6)."""
    return re.sub(r"([\\\[\]])", r"\\\1", visible(text))


def _location(finding: Reported, span: Span | None) -> dict[str, Any]:
    """A code host knows the archive or table, not what is in it."""
    file, inside, member = finding.source.partition(SEPARATOR)
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(file)}}
    logical = [{"fullyQualifiedName": visible(member), "kind": "resource"}] if inside else []
    if finding.column is not None:
        logical.append({"name": visible(finding.column), "kind": "member"})
    if span is not None and not inside:
        physical["region"] = {
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": span.end_line,
            "endColumn": span.end_column,
        }
    location: dict[str, Any] = {"physicalLocation": physical}
    return {**location, "logicalLocations": logical} if logical else location


def _uri(file: str) -> str:
    """The address of a file, object or database; the colon in a file's name makes no scheme of it."""
    return quote(file, safe="/:" if _SCHEME in file else "/", errors="surrogateescape")
