"""What a column holds, and so how it is classified, is what the scanner finds in it.

The classification is never below that of anything that was found, so that the check on the raw zone agrees.
An info type is named only when most cells are of it; a column that holds several kinds, or one here and
there, is dropped until somebody decides. So it is with a type of the product's own, which no contract names.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from secure_platform.contract.model import Protect
from secure_platform.scan.columns import DATE, Finding, Scanner
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
    for finding in scanner.scan(draft.frame):
        found[finding.column].append(finding)
    types = scanner.types
    draft = draft.with_columns([_meaning(column, found[column.name], types) for column in draft.columns])
    personal = any(types[each.info_type].sensitive for some in found.values() for each in some)
    return draft.with_columns([_named(column, types) for column in draft.columns]) if personal else draft


def _named(column: ColumnDraft, types: Mapping[str, InfoType]) -> ColumnDraft:
    """A bare `name` beside what is personal: too little for a finding, too much to be let out."""
    words = header_tokens(column.name)
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
    hidden = [f for f in found if main is None or types[f.info_type].classification > _level(main, types)]
    column = replace(column, classification=max(needed, Classification.INTERNAL))
    if hidden and needed >= Classification.CONFIDENTIAL:
        said = ", ".join(f"{finding.info_type} in {_percent(finding.ratio)}" for finding in hidden)
        column = replace(column, protect=Protect("drop")).doubted(f"it holds {said} of its cells")
    if main is None:
        return column
    return _typed(column, main, types[main.info_type])


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
