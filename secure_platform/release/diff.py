"""A steward approves the difference to what is in production: counts, columns and rules, never values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from secure_platform.contract.diff import ContractDiff, diff_datasets
from secure_platform.contract.load import read_contract
from secure_platform.contract.model import Contract
from secure_platform.contract.place import Place
from secure_platform.errors import ContractError
from secure_platform.protect.changes import WEAKER, changes, standing
from secure_platform.protect.domains import FIRST, told_domains
from secure_platform.release.dbt_diff import check_changes, sql_changes
from secure_platform.release.privacy_diff import privacy_changes


@dataclass(frozen=True)
class TableDiff:
    """How one table differs.

    Attributes:
        rows_before: None when the table is new.
        rows_after: None when the table is gone.
        columns: Sentences about columns that came, went, moved or changed their type.
    """

    table: str
    change: Literal["added", "removed", "changed", "unchanged"]
    rows_before: int | None
    rows_after: int | None
    columns: tuple[str, ...]


@dataclass(frozen=True)
class ReleaseDiff:
    """How a release differs from the one before.

    Attributes:
        first: Whether there is none before.
        properties: Sentences about profile, classification, environment and code version.
        plan: Sentences about the protection plan; weaker protection is called weaker.
        sql: Sentences about dbt's models and macros, and new tests.
        checks: Sentences about dbt's tests that are gone or judge otherwise, and about its variables.
        privacy: Sentences about what is told in numbers with noise, and its budget; more is called weaker.
        waivers: Sentences about waivers of both; they are no difference, and nobody may forget them.
        contracts: What changes in the contracts.
        domains: Sentences about token domains that other products name too, whether or not that is new.
    """

    first: bool
    tables: tuple[TableDiff, ...]
    properties: tuple[str, ...]
    plan: tuple[str, ...]
    sql: tuple[str, ...]
    checks: tuple[str, ...]
    contracts: ContractDiff
    privacy: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    waivers: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything differs that a reader of the data or its steward can notice."""
        different = any(table.change != "unchanged" for table in self.tables)
        new = [sentence for sentence in self.domains if FIRST in sentence]
        sentences = (*self.properties, *self.plan, *self.sql, *self.checks, *self.privacy, *new)
        return self.first or different or bool(sentences or self.contracts.changes)

    @property
    def attention(self) -> tuple[str, ...]:
        """What a steward must not miss: weaker protection, waivers, changed tests, broken contracts.

        And who else makes the same tokens, every time.
        """
        weaker = [sentence for sentence in (*self.plan, *self.privacy) if WEAKER in sentence]
        told = (*weaker, *self.waivers, *self.domains, *self.checks)
        return (*told, *map(str, self.contracts.of_kind("breaking")))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "first": self.first,
            "changed": self.changed,
            "attention": list(self.attention),
            "tables": {
                table.table: {
                    "change": table.change,
                    "rows_before": table.rows_before,
                    "rows_after": table.rows_after,
                    "columns": list(table.columns),
                }
                for table in self.tables
            },
            "properties": list(self.properties),
            "plan": list(self.plan),
            "sql": list(self.sql),
            "checks": list(self.checks),
            "privacy": list(self.privacy),
            "domains": list(self.domains),
            "waivers": list(self.waivers),
            "contracts": self.contracts.to_json(),
        }


def diff_manifests(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> ReleaseDiff:
    """Compare the manifests of two verified releases.

    Args:
        old: The manifest of the release in production; None when there is none.
        new: The manifest of the release to be decided on.
    """
    before = old or {}
    return ReleaseDiff(
        first=old is None,
        tables=tuple(_tables(before.get("tables", {}), new["tables"])),
        properties=tuple(_properties(old, new)),
        plan=tuple(changes(old and old["plan"]["document"], new["plan"]["document"])),
        sql=tuple(sql_changes(old["dbt"], new["dbt"])) if old else (),
        checks=tuple(check_changes(old["dbt"], new["dbt"])) if old else (),
        contracts=_contracts(before.get("contracts", {}), new["contracts"]),
        privacy=tuple(privacy_changes(before.get("aggregates"), new.get("aggregates"), first=old is None)),
        domains=tuple(_domains(before, new)),
        waivers=tuple(standing(old and old["plan"]["document"], new["plan"]["document"])),
    )


def _domains(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    shared = new.get("shared_domains") or {}
    return told_domains(new["product"], old.get("shared_domains") or {}, shared) if shared else iter(())


def _tables(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[TableDiff]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None:
            yield TableDiff(name, "added", None, new[name]["rows"], ())
        elif after is None:
            yield TableDiff(name, "removed", before["rows"], None, ())
        else:
            same = before["content_digest"] == after["content_digest"]
            columns = tuple(_columns(_types(before), _types(after)))
            change: Literal["changed", "unchanged"] = "unchanged" if same else "changed"
            yield TableDiff(name, change, before["rows"], after["rows"], columns)


def _types(table: Mapping[str, Any]) -> dict[str, str]:
    return {column["name"]: column["type"] for column in table["columns"]}


def _columns(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in old:
            yield f"{name}: new column of type {new[name]}."
        elif name not in new:
            yield f"{name}: the column is gone."
        elif old[name] != new[name]:
            yield f"{name}: {new[name]} instead of {old[name]}."
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield "The columns are in another order."


def _properties(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Iterator[str]:
    if old is None:
        return
    for name in ("environment", "profile", "classification", "code_version"):
        if old[name] != new[name]:
            yield f"The {name.replace('_', ' ')} changes from {old[name]} to {new[name]}."


def _contracts(old: Mapping[str, Any], new: Mapping[str, Any]) -> ContractDiff:
    same = {name for name in old.keys() & new.keys() if old[name]["digest"] == new[name]["digest"]}
    before, after = (
        {name: _contract(name, body["document"]) for name, body in sorted(side.items()) if name not in same}
        for side in (old, new)
    )
    return diff_datasets(before, after)


def _contract(name: str, document: Mapping[str, Any]) -> Contract | None:
    """None for one that was released under other rules than today's: its release must stay reviewable."""
    try:
        return read_contract(document, Place(name))
    except ContractError:
        return None
