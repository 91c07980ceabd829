"""What the documents say is still so: drawn parts are drawn again, named tests and linked files exist."""

import ast
import os
import re
from datetime import date
from pathlib import Path

import pytest

from secure_platform.contract.product import load_product
from secure_platform.orchestration.data_map import data_map
from secure_platform.protect.compiler import compile_plan
from secure_platform.settings import PACKAGE

ROOT = PACKAGE.parent
TESTS = ROOT / "secure_platform_tests"
THREATS = ROOT / "docs" / "threat-model.md"
DRAWN = re.compile(r"(?<=<!-- map -->\n).*(?=<!-- /map -->)", re.DOTALL)
TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
LINK = re.compile(r"\]\(([^)#:\s]+)\)")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])


def drawn() -> str:
    """The map of the healthcare product as Markdown."""
    product = load_product(PACKAGE / "defs" / "healthcare")
    picture = data_map(product, compile_plan(product, lambda _: 1, date(2026, 1, 1)))
    parts = [f"```mermaid\n{chart}\n```\n" for chart in (picture.flow_chart(), picture.key_chart())]
    for title, columns, rows in picture.tables():
        lines = [" | ".join(row) for row in (columns, ["---"] * len(columns), *rows)]
        parts.append(f"**{title}**\n\n" + "".join(f"| {line} |\n" for line in lines))
    return "\n".join(["", *parts, ""])


def test_the_map_in_the_threat_model_is_the_one_that_is_drawn() -> None:
    """After a change: SECURE_PLATFORM_WRITE_GOLDEN=1, then read the difference."""
    document = THREATS.read_text("utf-8")
    if os.environ.get("SECURE_PLATFORM_WRITE_GOLDEN"):
        THREATS.write_text(DRAWN.sub(lambda _: drawn(), document), "utf-8")
    found = DRAWN.search(THREATS.read_text("utf-8"))
    assert found is not None
    assert found[0] == drawn()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_tests_and_linked_files_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    missing = [f"{file}::{name}" for file, name in TEST.findall(text) if name not in _tests_in(TESTS / file)]
    missing += [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert missing == []


def test_every_failure_has_a_test() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "failures.md").read_text("utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| failure")
    ]
    assert len(rows) > 50
    assert [row for row in rows if not TEST.search(row)] == []


def _tests_in(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    tree = ast.parse(file.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
