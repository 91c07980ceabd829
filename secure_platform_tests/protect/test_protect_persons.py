"""A value under its person's key opens with both keys, and with neither of them alone."""

import base64
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import KEYS, DerivedKeys, DerivedPersons, column, dataset_plan, refused, typed

from secure_platform import canonical
from secure_platform.contract.model import Column, Reference
from secure_platform.errors import IntegrityError
from secure_platform.keys.material import derive
from secure_platform.protect.execute import apply, undo

FREE = "gdpr_pseudonymous"
ID = column("id", subject_id=True, required=True, token_domain="patient", protect="tokenize")
MODES = ("deterministic", "randomized")


class Erased(DerivedKeys):
    """The keys after somebody was erased."""

    def __init__(self, *erased: str) -> None:
        self._erased = erased

    def persons(self, domain: str) -> DerivedPersons:
        return DerivedPersons(domain, *self._erased)


def columns(mode: str, kind: Any = "string") -> tuple[Column, Column]:
    return ID, column("v", kind, protect={"transform": "encrypt", "mode": mode, "key": "subject"})


def made(
    mode: str, rows: list[tuple[str, Any]], kind: Any = "string", keys: DerivedKeys = KEYS
) -> pl.DataFrame:
    both = columns(mode, kind)
    frame = typed(both, {"id": [row[0] for row in rows], "v": [row[1] for row in rows]})
    return apply(dataset_plan(*both, profile=FREE), frame, keys).collect(engine="streaming")


def back(mode: str, cells: pl.DataFrame, kind: Any = "string", keys: DerivedKeys = KEYS) -> list[Any]:
    return undo(dataset_plan(*columns(mode, kind), profile=FREE), cells.select("v"), keys)["v"].to_list()


@pytest.mark.parametrize("mode", MODES)
@given(rows=st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.text(max_size=20)), max_size=12))
@settings(max_examples=25, deadline=None)
def test_every_text_comes_back(mode: str, rows: list[tuple[str, Any]]) -> None:
    assert back(mode, made(mode, rows)) == [value for _, value in rows]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", -7),
        ("number", 0.1),
        ("date", date(1900, 2, 28)),
        ("timestamp", datetime(2024, 1, 1, 12, 0, 0, 1, UTC)),
    ],
)
def test_every_type_comes_back(kind: str, value: Any) -> None:
    assert back("randomized", made("randomized", [("a", value)], kind), kind) == [value]


@pytest.mark.parametrize("mode", MODES)
def test_who_is_erased_is_gone_from_what_was_made_before_and_nobody_else(mode: str) -> None:
    cells = made(mode, [("a", "x"), ("b", "y"), ("a", None), ("a", "")])
    assert back(mode, cells, keys=Erased("a")) == [None, "y", None, None]
    again = made(mode, [("a", "x"), ("b", "y")], keys=Erased("a"))
    assert again["v"].is_null().to_list() == [True, False]


def test_equal_values_are_equal_within_a_person_only() -> None:
    cells = made("deterministic", [("a", "x"), ("a", "x"), ("b", "x"), ("a", "y")])["v"].to_list()
    assert cells[0] == cells[1]
    assert len(set(cells)) == 3
    assert len(set(made("randomized", [("a", "x"), ("a", "x")])["v"])) == 2


def test_the_cell_is_what_the_documentation_says() -> None:
    """Opened with the library alone."""
    (cell,) = made("deterministic", [("a", "x")])["v"]
    aad = canonical.dumps(["cell/clinic.people.v", 1, "deterministic"])
    inner = AESSIV(KEYS.cell_key("clinic.people.v", 1).key).decrypt(base64.b64decode(cell[3:]), [aad])
    ((place, key),) = KEYS.persons("patient").made(["a"]).values()
    assert inner[:32] == place
    own = derive(key, "person|cell/clinic.people.v", 64)
    assert AESSIV(own).decrypt(inner[32:], None) == b"x"
    assert b"x" not in inner[32:]


def test_a_changed_cell_gives_nothing() -> None:
    cells = made("deterministic", [("a", "value"), ("b", "other")])
    changed = cells.with_columns(pl.col("v").str.replace("e1_.{4}", "e1_AAAA"))
    with pytest.raises(IntegrityError):
        back("deterministic", changed)


def test_what_cannot_be_under_a_persons_key_is_refused() -> None:
    asked = {"transform": "encrypt", "mode": "deterministic", "key": "subject"}
    cases = {
        "not exactly one subject id": [column("v", protect=asked)],
        "may be empty": [
            column("id", subject_id=True, token_domain="p", protect="tokenize"),
            column("v", protect=asked),
        ],
        "is a key": [
            ID,
            column("v", primary_key=True, protect=asked),
            column("w", primary_key=True, protect="tokenize"),
        ],
        "outside its limits": [ID, column("v", protect={**asked, "key": "other"})],
    }
    for said, given_columns in cases.items():
        assert said in refused(*given_columns, profile=FREE)
    referred = column("w", reference=Reference("people", "v"))
    assert "refers to one" in refused(ID, column("v", protect=asked), referred, profile=FREE)
