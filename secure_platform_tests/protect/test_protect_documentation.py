"""The table of transforms in the documentation is the data that the platform goes by."""

import os
import re
from typing import Final

import yaml

from secure_platform.contract.model import DTYPES
from secure_platform.protect.strength import DOCUMENT, Parameter, Strength, strengths
from secure_platform.protect.transforms import TRANSFORMS
from secure_platform.settings import PACKAGE

PAGE: Final = PACKAGE.parent / "docs" / "protection.md"
TABLE: Final = re.compile(r"(?<=<!-- transforms -->\n).*(?=<!-- /transforms -->)", re.DOTALL)
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
