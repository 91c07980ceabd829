"""The scanner's findings say what a column contains, and therefore how it is classified.

The classification is never below that of anything found, so that the check of the raw zone agrees. An info
type is named only if most cells are of it. A column that contains several kinds, or one only here and there,
is dropped until somebody decides; so is one of a type of the product's own, which contracts cannot name.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from secure_platform.contract.model import Protect
from secure_platform.scan.columns import DATE, INSIDE, Finding, Scanner
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.fuse import NAME
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import InfoType, info_types
from secure_platform.taxonomy.reading import header_tokens

MOST: Final = 0.5
SURE: Final = 0.9
DATED: Final = frozenset({"DATE_OF_BIRTH", "DATE_OF_DEATH", DATE})
MEASURED: Final = frozenset({"attribute", "plain"})


def understood(draft: TableDraft, scanner: Scanner) -> TableDraft:
    """The draft with classifications and info types."""
    found: dict[str, list[Finding]] = defaultdict(list)
    written, types = draft.written, scanner.types
    for finding in scanner.scan(draft.frame.rename(written)):
        found[finding.column].append(finding)
    draft = draft.with_columns(
        [_meaning(column, found[written.get(column.name, column.name)], types) for column in draft.columns]
    )
    personal = any(types[each.info_type].sensitive for some in found.values() for each in some)
    if not personal:
        return draft
    return draft.with_columns(
        [_named(column, written.get(column.name, column.name), types) for column in draft.columns]
    )


def _named(column: ColumnDraft, written: str, types: Mapping[str, InfoType]) -> ColumnDraft:
    """A bare `name` beside what is personal: too little for a finding, too much to be let out."""
    words = header_tokens(written)
    meant = next((kind for kind in types.values() if ("^", *words, "$") in kind.weak_headers), None)
    if column.info_type or column.protect or column.logical_type != "string" or meant is None:
        return column
    level = max(column.classification, meant.classification)
    named = replace(column, info_type=meant.id, classification=level)
    return named.doubted(f"is it {meant.id}? Its table tells of people")


def _meaning(column: ColumnDraft, found: Sequence[Finding], types: Mapping[str, InfoType]) -> ColumnDraft:
    if not found:
        return column
    needed = max(types[finding.info_type].classification for finding in found)
    common = [finding for finding in found if finding.ratio >= MOST]
    main = max(common, key=lambda finding: _weight(finding, types), default=None)
    hidden = [each for each in found if main is None or _outweighs(each, main, types)]
    column = replace(column, classification=max(needed, Classification.INTERNAL))
    if main is not None:
        column = _typed(column, main, types[main.info_type])
    if not hidden or needed < Classification.CONFIDENTIAL:
        return column
    said = ", ".join(f"{finding.info_type} in {_percent(finding.ratio)}" for finding in hidden)
    return replace(column, protect=Protect("drop")).doubted(f"it holds {said} of its cells")


def _outweighs(other: Finding, main: Finding, types: Mapping[str, InfoType]) -> bool:
    """Whether what protects the main type says too little of the other: a graver one, or one beside it."""
    beside = other is not main and INSIDE in other.reasons and types[other.info_type].sensitive
    return beside or _level(other, types) > _level(main, types)


def _typed(column: ColumnDraft, finding: Finding, kind: InfoType) -> ColumnDraft:
    """The column with its info type; what nobody calculates with is text."""
    named = replace(
        column, info_type=finding.info_type, confidence=finding.confidence, reasons=finding.reasons
    )
    if finding.info_type not in info_types():
        said = f"it holds {finding.info_type}, a type of the product's own: say how it is protected"
        return replace(named, info_type=None, protect=Protect("drop")).doubted(said)
    if kind.group not in MEASURED and kind.id not in DATED:
        named = replace(named, logical_type="string", format=None, doubts=())
    if finding.confidence < SURE and finding.info_type != DATE:
        only = ", by its name only" if set(finding.reasons) == {NAME} else ""
        named = named.doubted(f"{finding.info_type} is {_percent(finding.confidence)} sure{only}")
    if finding.ratio < SURE:
        named = named.doubted(f"{_percent(1 - finding.ratio)} of its cells are no {finding.info_type}")
    return named


def _weight(finding: Finding, types: Mapping[str, InfoType]) -> tuple[int, float, float]:
    return _level(finding, types), finding.confidence, finding.ratio


def _level(finding: Finding, types: Mapping[str, InfoType]) -> Classification:
    return types[finding.info_type].classification


def _percent(share: float) -> str:
    return f"{max(1, round(100 * share))} %"
