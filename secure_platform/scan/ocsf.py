"""Scans in the audit log as events of the Open Cybersecurity Schema Framework: Data Security Finding, 2006.

One event per finding: snapshot, column, info type and counts. The log that it is made from holds no
value. https://schema.ocsf.io/1.5.0/classes/data_security_finding
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from secure_platform.audit.reader import Entry
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import InfoType

SCANNED: Final = "scan.findings"
VERSION: Final = "1.5.0"
_CLASS: Final = 2006
_CREATE: Final = 1
_NEW: Final = 1
_AT_REST: Final = 1
_COMPLETE: Final = 1
_CATEGORIES: Final = {"Personal": 1, "Governmental": 2, "Financial": 3, "Business": 4, "Security": 6}
_OTHER: Final = 99
_CONFIDENTIALITY: Final[Mapping[Classification, tuple[int, str]]] = {
    Classification.PUBLIC: (1, "Not Confidential"),
    Classification.INTERNAL: (5, "Private"),
    Classification.CONFIDENTIAL: (2, "Confidential"),
    Classification.RESTRICTED: (6, "Restricted"),
}
_SEVERITY: Final[Mapping[Classification, tuple[int, str]]] = {
    Classification.PUBLIC: (1, "Informational"),
    Classification.INTERNAL: (2, "Low"),
    Classification.CONFIDENTIAL: (3, "Medium"),
    Classification.RESTRICTED: (4, "High"),
}
_SURE: Final = ((0.8, 3, "High"), (0.5, 2, "Medium"), (0.0, 1, "Low"))


def finding_events(
    entries: Iterable[Entry], types: Mapping[str, InfoType], *, origin: str, version: str
) -> Iterator[dict[str, Any]]:
    """One event per finding of the scans among the entries, in their order.

    Args:
        entries: Of the audit log.
        types: Info types by id; one that a product had of its own may be missing.
        origin: Identity of the log.
        version: Of this software.
    """
    for entry in entries:
        if entry.body["action"] != SCANNED:
            continue
        for place, finding in enumerate(entry.body["detail"]["findings"]):
            yield _event(entry, place, finding, types.get(finding["info_type"]), origin, version)


def _event(
    entry: Entry, place: int, finding: Mapping[str, Any], kind: InfoType | None, origin: str, version: str
) -> dict[str, Any]:
    table, _, snapshot = entry.body["subject"].rpartition("/")
    level = kind.classification if kind else Classification.CONFIDENTIAL
    severity, severity_name = _SEVERITY[level]
    time = int(datetime.fromisoformat(entry.body["time"]).timestamp() * 1000)
    uid = f"{entry.leaf.hex()}-{place}"
    return {
        "activity_id": _CREATE,
        "activity_name": "Create",
        "category_name": "Findings",
        "category_uid": _CLASS // 1000,
        "class_name": "Data Security Finding",
        "class_uid": _CLASS,
        "type_uid": _CLASS * 100 + _CREATE,
        "type_name": "Data Security Finding: Create",
        "time": time,
        "severity": severity_name,
        "severity_id": severity,
        "status": "New",
        "status_id": _NEW,
        "is_alert": finding["refused"],
        "message": f"{finding['info_type']} in {table}, column {finding['column']}",
        "metadata": {
            "version": VERSION,
            "uid": uid,
            "log_name": origin,
            "sequence": entry.body["seq"],
            "product": {
                "name": "secure_platform",
                "vendor_name": "secure_platform",
                "version": version,
            },
        },
        "finding_info": {
            "uid": uid,
            "title": f"{kind.title if kind else finding['info_type']} was found",
            "types": [finding["info_type"]],
            "created_time": time,
        },
        "table": {"name": table, "uid": snapshot},
        "resources": [{"name": finding["column"], "type": "column", "uid": f"{table}/{finding['column']}"}],
        "data_security": _data_security(finding, kind, level),
        **_confidence(float(finding["confidence"])),
    }


def _data_security(
    finding: Mapping[str, Any], kind: InfoType | None, level: Classification
) -> dict[str, Any]:
    category = kind.ocsf if kind else "Other"
    confidentiality, said = _CONFIDENTIALITY[level]
    return {
        "category": category,
        "category_id": _CATEGORIES.get(category, _OTHER),
        "confidentiality": said,
        "confidentiality_id": confidentiality,
        "data_lifecycle_state": "Data at-Rest",
        "data_lifecycle_state_id": _AT_REST,
        "status": "Complete",
        "status_id": _COMPLETE,
        "total": finding["count"],
    }


def _confidence(share: float) -> dict[str, Any]:
    number, name = next((number, name) for least, number, name in _SURE if share >= least)
    return {"confidence": name, "confidence_id": number, "confidence_score": round(100 * share)}
