"""Drafts of tables that a test writes as text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from secure_platform.contract.load import read_contract
from secure_platform.contract.model import Contract
from secure_platform.contract.place import Place
from secure_platform.contract.strict_yaml import parse
from secure_platform.protect.profile import load_profile
from secure_platform.protect.proposal import proposed
from secure_platform.scan.columns import Scanner
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.document import contract_text
from secure_platform.scan.draft.drafting import drafted, named_once
from secure_platform.scan.draft.tables import read_table
from secure_platform.taxonomy.info_types import info_types

SCANNER = Scanner(info_types())
PROFILE = "gdpr_pseudonymous"


def files(folder: Path, contents: Mapping[str, str | bytes]) -> list[Path]:
    """The files, written."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return [folder / name for name in contents]


def drafts(paths: list[Path], profile: str = PROFILE) -> dict[str, TableDraft]:
    """Drafts by dataset."""
    found = proposed(
        drafted(named_once(read_table(path, SCANNER) for path in paths), SCANNER),
        load_profile(profile),
        SCANNER,
    )
    return {draft.dataset: draft for draft in found}


def column_of(folder: Path, *values: str, name: str = "x", beside: str = "") -> ColumnDraft:
    """The draft of a column with these cells, beside one that is never empty."""
    rows = "".join(f'"{value.replace(chr(34), chr(34) * 2)}",k\n' for value in values)
    header = f"{name},{beside or 'beside'}\n"
    return drafts(files(folder, {"table.csv": header + rows}))["table"].column(name)


def loaded(draft: TableDraft) -> Contract:
    """The contract as the strict loader reads its text; every other reader reads the same."""
    text = contract_text(draft, "team")
    document: dict[str, Any] = parse(text.encode(), Place("draft"))
    assert yaml.safe_load(text) == document
    return read_contract(document, Place("draft"))
