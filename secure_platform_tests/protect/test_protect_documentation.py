"""The tables in the documentation: of transforms, the platform's own data; of invariants, all with tests."""

import ast
import os
import re
from pathlib import Path
from typing import Final

import yaml

from secure_platform.contract.model import DTYPES
from secure_platform.protect.strength import DOCUMENT, Parameter, Strength, strengths
from secure_platform.protect.transforms import TRANSFORMS
from secure_platform.settings import PACKAGE

PAGE: Final = PACKAGE.parent / "docs" / "protection.md"
TABLE: Final = re.compile(r"(?<=<!-- transforms -->\n).*(?=<!-- /transforms -->)", re.DOTALL)
INVARIANTS: Final = re.compile(r"(?<=<!-- invariants -->\n).*(?=<!-- /invariants -->)", re.DOTALL)
TWELVE: Final = (
    "determinism",
    "domain separation",
    "referential integrity",
    "uniqueness",
    "reversibility",
    "one-way by key",
    "format",
    "nulls and types",
    "nothing left",
    "rotation",
    "re-identification",
    "not twice",
)
SKIPPED: Final = frozenset({"skip", "skipif", "xfail", "importorskip"})
"""Marks of a test that need not hold."""
HEAD: Final = ("transform", "parameters", "of", "unique", "same", "undone", "leaves", "stands for")


def parameter(name: str, rule: Parameter) -> str:
    limits = " or ".join(rule.choices) if rule.choices else f"{rule.minimum:g} to {rule.maximum:g}"
    length = " characters" if rule.kind == "text" else ""
    needed = ", needed" if rule.required else ""
    return f"`{name}`: {limits}{length}{needed}"


def types(name: str) -> str:
    known = TRANSFORMS[name].outputs if name in TRANSFORMS else dict.fromkeys(DTYPES.values())
    found = [kind for kind, dtype in DTYPES.items() if dtype in known]
    return "any" if len(found) == len(DTYPES) else ", ".join(found)


def row(strength: Strength, direct: list[str]) -> tuple[str, ...]:
    return (
        f"`{strength.name}`",
        "; ".join(parameter(name, rule) for name, rule in strength.params.items()),
        types(strength.name),
        strength.uniqueness.replace("_", " "),
        "yes" if strength.deterministic else "no",
        "yes" if strength.reversible else "no",
        strength.leaves.label,
        ", ".join(f"`{name}`" for name in direct),
    )


def made() -> str:
    document = yaml.safe_load(DOCUMENT.read_text("utf-8"))["transforms"]
    rows = [row(strengths().named(name), body["stronger_than"]) for name, body in document.items()]
    lines = [" | ".join(cells) for cells in (HEAD, ["---"] * len(HEAD), *rows)]
    return "".join(f"| {line} |\n" for line in lines)


def test_the_table_of_transforms_is_made_from_the_data() -> None:
    """After a change: SECURE_PLATFORM_WRITE_GOLDEN=1, then read the difference."""
    if os.environ.get("SECURE_PLATFORM_WRITE_GOLDEN"):
        PAGE.write_text(TABLE.sub(lambda _: made(), PAGE.read_text("utf-8")), "utf-8")
    found = TABLE.search(PAGE.read_text("utf-8"))
    assert found is not None
    assert found[0] == made()


def test_every_invariant_is_held_by_tests_that_are_run() -> None:
    found = INVARIANTS.search(PAGE.read_text("utf-8"))
    assert found is not None
    rows = [line.strip("| \n").split(" | ") for line in found[0].splitlines()[2:]]
    assert tuple(name for name, *_ in rows) == TWELVE
    for name, says, tests in rows:
        assert says
        assert re.fullmatch(r"`[\w/]+\.py::test_\w+`(, `[\w/]+\.py::test_\w+`)*", tests), name
        for file, test in re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests):
            assert _is_run(PACKAGE.parent / "secure_platform_tests" / file, test), f"{name}: {file}::{test}"


def _is_run(file: Path, test: str) -> bool:
    """Whether a module has a test of this name that is not skipped or let fail."""
    module = ast.parse(file.read_text("utf-8"))
    found = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == test]
    for_all = [node for node in module.body if isinstance(node, ast.Assign | ast.Expr)]
    marks = {
        each.attr
        for mark in (*for_all, *(mark for node in found for mark in node.decorator_list))
        for each in ast.walk(mark)
        if isinstance(each, ast.Attribute)
    }
    return len(found) == 1 and not marks & SKIPPED
