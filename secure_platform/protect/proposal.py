"""A draft gets the transforms that the profile requires; a column that none of them fits is dropped.

A key that would have to be dropped is no longer a key. If the profile requires k, what others may know of
somebody is a quasi-identifier. The result compiles, and what it keeps passes the residual checks, so a draft
can be built at once.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Final

from secure_platform.contract.model import Contract, Protect
from secure_platform.contract.product import Product
from secure_platform.errors import PlanRefusedError
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.decide import Decider
from secure_platform.protect.fake import FAKE, KIND
from secure_platform.protect.profile import SAFE_HARBOR, Profile
from secure_platform.protect.quasi import leads_to
from secure_platform.protect.residual import kept_formats, residual_values
from secure_platform.protect.transforms import KEEP
from secure_platform.scan.columns import Scanner
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.shapes import cast
from secure_platform.scan.refusals import residual
from secure_platform.taxonomy.info_types import info_types
from secure_platform.taxonomy.reading import header_tokens

DROP: Final = Protect("drop")
AS_OF: Final = date(2000, 1, 1)
"""Nothing of a draft rests on the day."""
_LEAVES: Final = frozenset({KEEP, "generalize"})
_COARSE: Final = (
    "nobody may be recognised by it: is it coarse enough? `contract levels` shows what stays behind"
)
_RECOGNISED: Final = frozenset(
    {"COUNTRY", "REGION", "ETHNIC_ORIGIN"}
    | {kind.id for kind in info_types().values() if kind.family in {"demographic", "life_date", "place"}}
) - {"INCOME", "CREDIT_SCORE"}
"""What others know of somebody, or can look up."""
_PARTS_OF_NAMES: Final[Mapping[tuple[str, ...], str]] = {
    **dict.fromkeys([("first", "name"), ("given", "name"), ("middle", "name")], "first_name"),
    **dict.fromkeys([("last", "name"), ("family", "name"), ("maiden", "name")], "last_name"),
    **dict.fromkeys([("first",), ("firstname",), ("forename",), ("vorname",), ("prenom",)], "first_name"),
    **dict.fromkeys([("last",), ("lastname",), ("surname",), ("nachname",), ("maiden",)], "last_name"),
}
"""How the name of a column ends that holds a part of names → what is made up for it."""


def proposed(drafts: Sequence[TableDraft], profile: Profile, scanner: Scanner) -> list[TableDraft]:
    """The drafts with a transform for every column that is not kept, and their keys as far as these allow.

    What is kept passes the residual checks: a column in which they would find something is dropped.
    """
    decided = _with_rows(_with_transforms([_storable(draft, profile) for draft in drafts], profile), profile)
    while leaking := _leaking(decided, profile, scanner):
        left = [_without(draft, leaking) for draft in decided]
        decided = _with_rows(_with_transforms(left, profile), profile)
    return decided


def _storable(draft: TableDraft, profile: Profile) -> TableDraft:
    """What may not be stored is left out when the source is read, and so is not required."""
    return draft.with_columns(
        [
            replace(column, required=False) if column.info_type in profile.never_stored else column
            for column in draft.columns
        ]
    )


def _with_rows(drafts: Sequence[TableDraft], profile: Profile) -> list[TableDraft]:
    """The drafts with quasi-identifiers, where the profile asks for k."""
    if profile.least_k == 1:
        return list(drafts)
    drafts = [_marked(draft, known=True) for draft in drafts]
    marked = {draft.dataset for draft in drafts if any(column.quasi_identifier for column in draft.columns)}
    pointing = {
        draft.dataset: {c.reference.dataset for c in draft.columns if c.reference and c.protect != DROP}
        for draft in drafts
    }
    return [
        draft
        if draft.dataset in marked or leads_to(draft.dataset, pointing, marked)
        else _marked(draft, known=False)
        for draft in drafts
    ]


def _marked(draft: TableDraft, *, known: bool) -> TableDraft:
    """The draft with the quasi-identifiers that are known as such; else with all that says something."""
    return draft.with_columns(
        [
            replace(column, quasi_identifier=True).doubted(_COARSE)
            for column in draft.columns
            if not (column.quasi_identifier or column.reference or column.primary_key)
            and (column.protect is None or column.protect.transform in _LEAVES)
            and (column.info_type in _RECOGNISED or not known)
        ]
    )


def _leaking(
    drafts: Sequence[TableDraft], profile: Profile, scanner: Scanner
) -> Mapping[tuple[str, str], str]:
    """Kept columns that would not pass, and why."""
    product = _product({draft.dataset: _contract(draft) for draft in drafts}, profile.name)
    plan, key = compile_plan(product, lambda _: 1, AS_OF), secrets.token_bytes(32)
    originals = [(draft.frame, plan.datasets[draft.dataset]) for draft in drafts]
    leaking: dict[tuple[str, str], str] = {}
    for draft in drafts:
        kept = [c for c in draft.columns if c.reference is None and c.protect in {None, Protect(KEEP)}]
        typed = draft.frame.select(cast(column) for column in kept)
        harbor = profile.name == SAFE_HARBOR
        let_out = kept_formats(plan.datasets[draft.dataset])
        for finding in residual(scanner.scan(typed), scanner.types, safe_harbor=harbor) if kept else []:
            if finding.info_type not in let_out.get(finding.column, ()):
                leaking[draft.dataset, finding.column] = (
                    f"the residual check would find {finding.info_type} in it"
                )
        for name, cells in residual_values(originals, typed, None, key):
            leaking[draft.dataset, name] = f"{cells:,} of its cells hold what a protected column holds"
    return leaking


def _without(draft: TableDraft, leaking: Mapping[tuple[str, str], str]) -> TableDraft:
    return draft.with_columns(
        [
            replace(column, protect=DROP, quasi_identifier=False).doubted(f"{why}, so it is dropped")
            for column in draft.columns
            if (why := leaking.get((draft.dataset, column.name)))
        ]
    )


def _with_transforms(drafts: Sequence[TableDraft], profile: Profile) -> list[TableDraft]:
    drafts = list(drafts)
    while True:
        decided = _decided(drafts, profile)
        lost = {
            (draft.dataset, column.name)
            for draft in decided
            for column in draft.columns
            if _lost_key(draft, column, drafts)
        }
        if not lost:
            return decided
        drafts = [_without_keys(draft, lost) for draft in drafts]


def _decided(drafts: Sequence[TableDraft], profile: Profile) -> list[TableDraft]:
    product = _product({draft.dataset: _contract(draft) for draft in drafts}, profile.name)
    decider = Decider(product, profile, AS_OF)
    return [
        draft.with_columns([_with_transform(column, draft, decider, product) for column in draft.columns])
        for draft in drafts
    ]


def _with_transform(
    column: ColumnDraft, draft: TableDraft, decider: Decider, product: Product
) -> ColumnDraft:
    contract = product.contracts[draft.dataset]
    try:
        decision = decider.decide(contract, contract.column(column.name))
    except PlanRefusedError:
        return replace(column, protect=DROP).doubted("no transform of the profile fits it, so it is dropped")
    inherited = column.reference is not None and decision.protect != DROP
    if inherited or decision.protect.transform == KEEP:
        return column
    written = draft.written.get(column.name, column.name)
    return replace(column, protect=_part_of_a_name(written, column.info_type, decision.protect))


def _part_of_a_name(written: str, info_type: str | None, protect: Protect) -> Protect:
    """A made-up first name for a first name, where the column says that it holds no whole one."""
    part = _part(header_tokens(written))
    if part is None or info_type != "PERSON_NAME" or protect.transform != FAKE or KIND in protect.params:
        return protect
    return replace(protect, params=MappingProxyType({**protect.params, KIND: part}))


def _part(words: tuple[str, ...]) -> str | None:
    return _PARTS_OF_NAMES.get(words[-2:]) or _PARTS_OF_NAMES.get(words[-1:])


def _lost_key(draft: TableDraft, column: ColumnDraft, drafts: Sequence[TableDraft]) -> bool:
    """Whether other columns rely on a key that is dropped."""
    if column.protect != DROP:
        return False
    pointed = any(
        other.reference and (other.reference.dataset, other.reference.column) == (draft.dataset, column.name)
        for each in drafts
        for other in each.columns
    )
    return column.primary_key or pointed


def _without_keys(draft: TableDraft, lost: set[tuple[str, str]]) -> TableDraft:
    columns = []
    for column in draft.columns:
        if (draft.dataset, column.name) in lost:
            demoted = replace(column, primary_key=False, unique=column.primary_key or column.unique)
            columns.append(demoted.doubted("it looks like a key, but the profile does not let it out"))
        elif column.reference and (column.reference.dataset, column.reference.column) in lost:
            to = f"{column.reference.dataset}.{column.reference.column}"
            columns.append(replace(column, reference=None).doubted(f"it points at {to}, which is dropped"))
    return draft.with_columns(columns)


def _contract(draft: TableDraft) -> Contract:
    return Contract(
        dataset=draft.dataset,
        version="1.0.0",
        description="",
        owner="",
        columns=tuple(column.column() for column in draft.columns),
        source_file=draft.source_file,
        digest="",
    )


def _product(contracts: Mapping[str, Contract], profile: str) -> Product:
    return Product(
        name="draft",
        owner="",
        description="",
        profile=profile,
        schedule=None,
        contracts=MappingProxyType(dict(contracts)),
        models=(),
        target="duckdb",
        freshness_hours=None,
        purposes=(),
        deploy_windows=(),
        maintenance_windows=(),
        directory=Path(),
        digest="",
    )
