"""Findings that must not be where they were found: in an open column of raw data, or in protected data."""

from collections.abc import Iterable, Mapping

from secure_platform.contract.model import Contract
from secure_platform.scan.columns import Finding
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import InfoType, info_types


def refused(
    findings: Iterable[Finding], contract: Contract, types: Mapping[str, InfoType] | None = None
) -> list[Finding]:
    """Findings that contradict the contract: confidential or restricted types in public or internal columns.

    Columns that the contract does not name are left out: they never leave the raw zone.

    Args:
        findings: What a scan of raw data found.
        contract: Of the dataset.
        types: The product's info types; the platform's when not given.
    """
    open_columns = {
        column.name for column in contract.columns if column.classification < Classification.CONFIDENTIAL
    }
    types = types or info_types()
    return [
        finding
        for finding in findings
        if finding.column in open_columns
        and types[finding.info_type].classification >= Classification.CONFIDENTIAL
    ]


def residual(
    findings: Iterable[Finding], types: Mapping[str, InfoType] | None = None, *, safe_harbor: bool = False
) -> list[Finding]:
    """Findings that must not be in protected data: every identifier and secret.

    Attributes, which say something about a person without naming one, are kept on purpose. Weak evidence
    needs no exception here, because what protection leaves behind is no evidence to begin with: under a
    telling header the scan counts only cells that have the type's format and are no token or redaction mark,
    or, for types without one, cells that are not null, tokens, digests, UUIDs, redaction marks or numbers
    (years, ages, ZIP3). Value evidence always counts.

    Args:
        findings: What a scan of protected data found.
        types: The product's info types; the platform's when not given.
        safe_harbor: Also block every type that 45 CFR 164.514(b)(2)(i) names, whatever its classification:
            a full date, say.
    """
    types = types or info_types()
    return [f for f in findings if types[f.info_type].sensitive or (safe_harbor and types[f.info_type].hipaa)]
