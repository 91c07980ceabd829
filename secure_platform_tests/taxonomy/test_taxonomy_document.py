"""docs/info-types.md is what the taxonomy says."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from secure_platform.scan.secrets.document import own_rules
from secure_platform.taxonomy.info_types import DOCUMENT, Family, InfoType, info_types, taxonomy

HEADINGS = (
    *("info type", "what", "found by", "rule", "GDPR", "HIPAA", "PCI", "OCSF", "fideslang", "at least"),
    "transform",
)
GOLDEN = Path(__file__).resolve().parents[2] / "docs" / "info-types.md"
HEAD = """# Info types

Made from `secure_platform/taxonomy/info_types.yaml`; a test keeps it true. The scanner, contracts
(`infoType`), protection profiles and reviews read the same entries.

**How it is found**: *name*, the column name alone; *name and format*, cells of a format under such a name;
*format*, cells that need no name; *in text*, the format inside free text; *keyword*, a word with the value
behind it; *secret rules*, by `secure_platform/scan/secrets/rules.toml`. *Rule* is a check digit or number
rule: of python-stdnum where it begins with `stdnum.`, else of `taxonomy/validators.py` and
`taxonomy/number_rules.py`, which name its source. A type without any of these is a label for contracts.

**What it means**: GDPR article, letter of 45 CFR 164.514(b)(2)(i), PCI DSS (`CHD` cardholder data, `SAD`
sensitive authentication data), category of OCSF and of fideslang; then the lowest classification of a column
that holds it, and what protection does when neither contract nor profile says otherwise.
"""


def rendered() -> str:
    return "\n".join(
        [HEAD, *_keys(), *(line for family in taxonomy().families.values() for line in _family(family))]
    )


def _keys() -> Iterator[str]:
    """The head of the file explains its keys in two columns."""
    yield f"{len(info_types())} types in {len(taxonomy().families)} families.\n"
    yield "## Keys of an entry\n\n| key | |\n|---|---|"
    for line in DOCUMENT.read_text(encoding="utf-8").split("\n\nfamilies:", 1)[0].splitlines():
        if found := re.fullmatch(r"#   (\w+(?:, \w+)*) +(.*)", line):
            yield f"| `{found[1]}` | {found[2].replace('|', chr(92) + '|')} |"


def _family(family: Family) -> Iterator[str]:
    members = [kind for kind in info_types().values() if kind.family == family.id]
    yield f"\n## {family.title}\n"
    yield f"| {' | '.join(HEADINGS)} |"
    yield "|---" * len(HEADINGS) + "|"
    for kind in members:
        yield "| " + " | ".join(_cells(kind)) + " |"


def _cells(kind: InfoType) -> Iterator[str]:
    yield f"`{kind.id}`"
    yield f"{kind.title} ({kind.country})" if kind.country else kind.title
    yield ", ".join(_evidence(kind)) or "contracts only"
    yield f"`{kind.validator}`" if kind.validator else ""
    yield from (kind.gdpr or "", kind.hipaa or "", kind.pci or "", kind.ocsf, f"`{kind.category}`")
    yield from (kind.classification.label, f"`{kind.default_transform}`")


def _evidence(kind: InfoType) -> Iterator[str]:
    formats = kind.value_patterns or kind.header_patterns or kind.text_pattern or kind.context_pattern
    if kind.header_words:
        yield "name and format" if formats else "name"
    if kind.value_patterns:
        yield "format"
    if kind.text_pattern:
        yield "in text"
    if kind.context_pattern:
        yield "keyword"
    if kind.id in {rule.info_type for rule in own_rules().rules.values()}:
        yield "secret rules"


def test_the_table_of_info_types_is_the_published_one() -> None:
    """After a change of the taxonomy: SECURE_PLATFORM_WRITE_GOLDEN=1, then read the difference."""
    if os.environ.get("SECURE_PLATFORM_WRITE_GOLDEN"):
        GOLDEN.write_text(rendered() + "\n", "utf-8")
    assert GOLDEN.read_text("utf-8") == rendered() + "\n"


def test_every_key_of_an_entry_is_explained() -> None:
    document = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    keys = {key for part in document.values() for body in part.values() for key in body}
    explained = {word for line in _keys() for word in re.findall(r"\w+", line)}
    assert keys <= explained
