"""A plan is carried out as one query, references are checked over tokens, and nothing original remains."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import (
    KEYS,
    PEOPLE,
    VISITS,
    DerivedKeys,
    clinic_plan,
    column,
    compiled,
    contract,
    dataset_plan,
    people,
    token,
    typed,
    visits,
)

from secure_platform.control.database import ControlDatabase
from secure_platform.errors import IntegrityError, PlanRefusedError
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.material import TokenKey
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing
from secure_platform.protect import profile as profile_module
from secure_platform.protect.execute import apply, split_orphans
from secure_platform.protect.plan import Plan

HEALTHCARE = Path(profile_module.__file__).parents[1] / "defs" / "healthcare"
KEY = bytes(range(32))
FREE = "gdpr_pseudonymous"


# --- apply


def test_the_output_is_what_the_plan_lists_and_nothing_else() -> None:
    extra = people(["a", "b"]).with_columns(pl.lit("secret").alias("EXTRA"), pl.lit(1).alias("__line"))
    frame = apply(clinic_plan().datasets["people"], extra, KEYS).collect(engine="streaming")
    assert frame.columns == ["Id", "BORN", "ZIP", "STATE", "SCORE"]
    assert frame["Id"].to_list() == [token("a", "patient"), token("b", "patient")]
    assert frame["ZIP"].to_list() == ["021", "021"]
    assert frame["SCORE"].to_list() == [0.0, 1.0]


def test_columns_of_the_input_in_another_order_come_out_in_the_plans() -> None:
    frame = people(["a"]).select("SCORE", "STATE", "ZIP", "CITY", "SSN", "BORN", "Id")
    assert apply(clinic_plan().datasets["people"], frame, KEYS).collect_schema().names()[0] == "Id"


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.drop("SSN"),
        lambda frame: frame.drop("STATE"),
        lambda frame: frame.with_columns(pl.col("BORN").cast(pl.String)),
        lambda frame: frame.with_columns(pl.col("SCORE").cast(pl.Float32)),
        lambda frame: frame.rename({"Id": "ID"}),
    ],
)
def test_a_frame_that_is_not_what_the_plan_was_made_for_is_refused(change: Any) -> None:
    with pytest.raises(PlanRefusedError, match="does not arrive as"):
        apply(clinic_plan().datasets["people"], change(people(["a"])), KEYS)


def test_the_whole_query_is_lazy_streams_and_does_not_show_its_keys() -> None:
    plan = clinic_plan()
    query = apply(plan.datasets["visits"], visits(["a"]), KEYS)
    assert isinstance(query, pl.LazyFrame)
    for text in (
        query.explain(),
        query.explain(engine="streaming"),
        repr(query),
        repr(plan),
        str(plan.to_json()),
    ):
        for domain in ("patient", "clinic.visits.Id"):
            assert KEYS.bytes(domain).hex() not in text
    assert repr(KEYS.token_key("patient", 1)).find(KEYS.bytes("patient").hex()) == -1


def test_a_query_that_encrypts_shows_no_key_and_cannot_be_written_down() -> None:
    columns = [
        column("c", level="public", protect={"transform": "encrypt", "mode": "deterministic"}),
        column("n", level="public", protect="fpe", pattern="^[0-9]{9}$"),
    ]
    frame = typed(columns, {"c": ["a"], "n": ["123456789"]})
    query = apply(dataset_plan(*columns, profile=FREE), frame, KEYS)
    secret = [KEYS.cell_key("clinic.people.c", 1).key, KEYS.token_key("fpe:clinic.people.n", 1).key]
    for text in (query.explain(), query.explain(engine="streaming"), repr(query)):
        assert [key for key in secret if key.hex() in text or repr(key)[2:-1] in text] == []
    with pytest.raises(pl.exceptions.ComputeError, match="serialization failed"):
        query.serialize()


def test_no_value_is_in_the_error_of_any_query() -> None:
    odd = ["", "\x00", "\ud7ff", "9" * 400, "2024-99-99", "٣", "NaN"]
    columns = [
        column("a", info_type="DATE"),
        column("b", info_type="US_ZIP"),
        column("c", protect={"transform": "mask", "keep_last": 4}),
        column("d", unique=True),
    ]
    frame = typed(columns, dict.fromkeys("abcd", odd))
    assert apply(dataset_plan(*columns), frame, KEYS).collect(engine="streaming").height == len(odd)


def test_an_unknown_key_version_is_refused() -> None:
    plan = compiled(contract("people", *PEOPLE), version=9).datasets["people"]
    with pytest.raises(IntegrityError):
        apply(plan, people(["a"]), KEYS)


class WrongVersion(DerivedKeys):
    """Gives the current version whatever is asked for."""

    def token_key(self, domain: str, version: int) -> TokenKey:
        return super().token_key(domain, 3 - version)


def test_a_key_of_another_version_than_the_plan_names_is_refused() -> None:
    with pytest.raises(PlanRefusedError, match="another version"):
        apply(clinic_plan().datasets["people"], people(["a"]), WrongVersion())


def test_a_keyed_column_without_a_key_name_is_refused() -> None:
    plan = clinic_plan().datasets["people"]
    nameless = replace(plan.columns[0], token_domain=None)
    with pytest.raises(PlanRefusedError, match="names no token key"):
        apply(replace(plan, columns=(nameless, *plan.columns[1:])), people(["a"]), KEYS)


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    (tmp_path / "keys").mkdir(mode=0o700)
    database = ControlDatabase.at(tmp_path / "control.db")
    database.migrate()
    ring = HomeKeys(LocalKeyProvider.create(tmp_path / "keys"), database, tmp_path / "audit.db").ring
    ring.initialise()
    return ring


def test_with_the_real_key_ring_every_process_makes_the_same_tokens(ring: KeyRing) -> None:
    plan = compiled(
        contract("people", *PEOPLE), contract("visits", *VISITS), version=ring.token_version("patient")
    )
    first = apply(plan.datasets["people"], people(["a", "b"]), ring).collect()
    second = apply(plan.datasets["visits"], visits(["b", "a", None]), ring).collect()
    assert second["PERSON"].to_list() == [*first["Id"].to_list()[::-1], None]
    again = apply(Plan.from_json(plan.to_json()).datasets["people"], people(["a", "b"]), ring).collect()
    assert again.equals(first)


# --- orphans


def checked(persons: list[str | None], parents: list[int | None] | None, ids: list[str]) -> pl.DataFrame:
    plan = clinic_plan()
    child = apply(plan.datasets["visits"], visits(persons, parents), KEYS)
    parent = apply(plan.datasets["people"], people(ids), KEYS)
    kept, lost = split_orphans(plan.datasets["visits"], child, {"people": parent})
    rows = child.collect()
    assert pl.concat([kept.collect(engine="streaming"), lost.collect()]).sort("Id").equals(rows.sort("Id"))
    order = rows["Id"].to_list()
    assert kept.collect()["Id"].to_list() == [key for key in order if key in set(kept.collect()["Id"])]
    return lost.collect(engine="streaming")


def test_orphans_are_found_over_tokens_once_each_and_null_is_none() -> None:
    found = checked(["a", "z", None, "y", "b", "b"], [None, 77, 78, None, 0, 79], ["a", "b", "b"])
    assert found.columns == ["Id", "PERSON", "PARENT", "CODE"]
    assert found["PERSON"].to_list() == [
        token("z", "patient"),
        None,
        token("y", "patient"),
        token("b", "patient"),
    ]


@given(
    persons=st.lists(st.none() | st.sampled_from("abcdef"), max_size=20),
    ids=st.lists(st.sampled_from("abcd"), unique=True),
)
@settings(deadline=None, max_examples=40)
def test_the_anti_join_is_the_same_before_and_after(persons: list[str | None], ids: list[str]) -> None:
    found = checked(persons, None, ids)
    expected = [token(person, "patient") for person in persons if person is not None and person not in ids]
    assert found["PERSON"].to_list() == expected


def test_a_dataset_without_foreign_keys_has_no_orphans() -> None:
    plan = clinic_plan().datasets["people"]
    frame = apply(plan, people(["a"]), KEYS)
    kept, lost = split_orphans(plan, frame, {})
    assert kept.collect().equals(frame.collect())
    assert lost.collect().height == 0


def test_a_missing_parent_is_refused() -> None:
    plan = clinic_plan().datasets["visits"]
    frame = apply(plan, visits(["a"]), KEYS)
    with pytest.raises(PlanRefusedError, match="missing"):
        split_orphans(plan, frame, {"visits": frame})
