"""What docs/keys.md says of algorithms and keys is what the platform holds to."""

import os
from pathlib import Path

from secure_platform.keys.algorithms import POLICY
from secure_platform.keys.catalog import ALGORITHMS, SINGLE

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "keys.md"
BEGIN, END = "<!-- posture -->\n", "<!-- /posture -->\n"


def posture() -> str:
    lines = ["| algorithm | used for | it | FIPS 140-3 | source |", "|---|---|---|---|---|"]
    for each in POLICY.values():
        approved = "approved" if each.fips else "not approved"
        cells = (each.name, each.used_for, each.standing, approved, each.source)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_the_posture_in_the_manual_is_the_one_in_force() -> None:
    text = DOCUMENT.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    told, end, tail = rest.partition(END)
    assert end == END
    if os.environ.get("SECURE_PLATFORM_WRITE_GOLDEN"):
        DOCUMENT.write_text(head + BEGIN + posture() + END + tail, "utf-8")
        told = posture()
    assert told == posture()


def test_the_manual_names_every_kind_of_key() -> None:
    text = DOCUMENT.read_text("utf-8")
    for kind in ALGORITHMS:
        named = f"| `{kind}` |" if kind in SINGLE else f"| `{kind}/DOMAIN` |"
        assert named in text


def test_every_key_has_an_algorithm_of_the_table() -> None:
    assert set(ALGORITHMS.values()) <= POLICY.keys()
