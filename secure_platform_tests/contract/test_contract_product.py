"""A product loads only when its references resolve and its folder holds nothing that is not understood."""

import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from contract_support import column, custom, document, dump, foreign_key, product, write
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from secure_platform.contract.cron import wrong_field
from secure_platform.contract.product import (
    COMPONENT,
    ProductAttributes,
    load_product,
    load_products,
    product_from_attributes,
)
from secure_platform.errors import ContractError

KEY = column(
    "id", classification="confidential", primaryKey=True, customProperties=custom(tokenDomain="person")
)
PEOPLE = document("people", KEY, column("mail", unique=True), column("name"))


def orders(**more: Any) -> dict[str, Any]:
    return document(
        "orders", foreign_key("person", **{"to": "people.id", "classification": "confidential", **more})
    )


def refusal(directory: Path) -> ContractError:
    with pytest.raises(ContractError) as caught:
        load_product(directory)
    return caught.value


REFERENCES: dict[str, tuple[dict[str, Any], str, str]] = {
    "dataset that is not there": ({"to": "peeple.id"}, "unknown dataset `peeple`", "`people`"),
    "column that is not there": ({"to": "people.idd"}, "unknown column `idd` of people", "`id`"),
    "column that is no key": ({"to": "people.name"}, "people.name, which is not a key", "only primary key"),
    "lower classification": (
        {"classification": "internal"},
        "classified below people.id",
        "Classify it confidential",
    ),
    "other type": ({"logicalType": "integer"}, "is integer, but people.id is string", "same logicalType"),
    "other token domain": (
        {"customProperties": custom(tokenDomain="order")},
        "another token domain than people.id",
        "leave it out",
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_foreign_key_that_does_not_fit_its_key_is_refused(tmp_path: Path, name: str) -> None:
    more, culprit, fix = REFERENCES[name]
    error = refusal(product(tmp_path / "shop", PEOPLE, orders(**more)))
    assert error.culprit.startswith("shop/contracts/orders.odcs.yaml, column person: ")
    assert culprit in error.culprit
    assert fix in error.fix


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"customProperties": custom(tokenDomain="person")},
        {"to": "people.mail"},
        {"classification": "restricted"},
    ],
)
def test_a_foreign_key_that_fits_is_accepted(tmp_path: Path, more: dict[str, Any]) -> None:
    loaded = load_product(product(tmp_path / "shop", PEOPLE, orders(**more)))
    assert list(loaded.contracts) == ["people", "orders"]


def test_one_column_of_a_composite_key_is_no_key(tmp_path: Path) -> None:
    two = document("people", column("id", primaryKey=True), column("part", primaryKey=True))
    error = refusal(product(tmp_path / "shop", two, orders()))
    assert "not a key" in error.culprit


def test_datasets_come_after_those_they_point_at(tmp_path: Path) -> None:
    chain = [
        document("a", column("id", primaryKey=True), foreign_key("next", "b.id")),
        document("b", column("id", primaryKey=True), foreign_key("next", "c.id"), foreign_key("up", "b.id")),
        document("c", column("id", primaryKey=True)),
        document("d", column("x")),
    ]
    assert list(load_product(product(tmp_path / "shop", *chain)).contracts) == ["c", "d", "b", "a"]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_acyclic_product_is_ordered(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    names = data.draw(st.permutations([f"d{n}" for n in range(count)]))
    links = {
        name: data.draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else []
        for place, name in enumerate(names)
    }
    documents = [
        document(name, column("id", primaryKey=True), *(foreign_key(f"to_{t}", f"{t}.id") for t in targets))
        for name, targets in links.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        order = list(load_product(product(Path(folder) / "shop", *documents)).contracts)
    assert sorted(order) == sorted(names)
    assert all(
        order.index(target) < order.index(name) for name, targets in links.items() for target in targets
    )


def test_a_circle_of_references_is_refused(tmp_path: Path) -> None:
    circle = [
        document(name, column("id", primaryKey=True), foreign_key("next", f"{target}.id"))
        for name, target in (("a", "b"), ("b", "c"), ("c", "a"))
    ]
    error = refusal(product(tmp_path / "shop", *circle))
    assert "shop/contracts/a.odcs.yaml" in error.culprit
    assert all(f"{name}" in error.culprit for name in "abc")
    assert "circle" in error.culprit
    assert error.fix == "Remove one of these relationships."


def test_a_column_does_not_point_at_itself(tmp_path: Path) -> None:
    itself = document("a", foreign_key("id", "a.id", primaryKey=True))
    assert "points at itself" in refusal(product(tmp_path / "shop", itself)).culprit


def test_two_files_do_not_declare_one_dataset(tmp_path: Path) -> None:
    directory = product(tmp_path / "shop", PEOPLE)
    write(directory / "contracts", PEOPLE).rename(directory / "contracts" / "persons.odcs.yaml")
    write(directory / "contracts", PEOPLE)
    error = refusal(directory)
    assert "persons.odcs.yaml" in error.culprit
    assert "`people`" in error.culprit
    assert error.fix == "Name it people.odcs.yaml."


@pytest.mark.parametrize("name", ["people.yaml", "people.odcs.yml", "People.YAML", "more/"])
def test_what_would_be_overlooked_among_the_contracts_is_refused(tmp_path: Path, name: str) -> None:
    directory = product(tmp_path / "shop", PEOPLE)
    path = directory / "contracts" / name
    path.mkdir() if name.endswith("/") else path.write_text("a: 1\n")
    error = refusal(directory)
    assert name.rstrip("/") in error.culprit
    assert "is not a contract" in error.culprit


def test_other_files_among_the_contracts_do_not_matter(tmp_path: Path) -> None:
    directory = product(tmp_path / "shop", PEOPLE)
    for name in ("README.md", ".people.odcs.yaml.swp", ".DS_Store"):
        (directory / "contracts" / name).write_text("x")
    assert list(load_product(directory).contracts) == ["people"]


@pytest.mark.parametrize("keep_folder", [True, False])
def test_a_product_without_contracts_is_refused(tmp_path: Path, keep_folder: bool) -> None:  # noqa: FBT001 - a case
    directory = product(tmp_path / "shop")
    if not keep_folder:
        (directory / "contracts").rmdir()
    assert "holds no contract" in refusal(directory).culprit


ATTRIBUTES: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown": ({"profil": "x"}, "unknown attribute `profil`", "`profile`"),
    "bad name": ({"name": "My Shop"}, "`name`", "match pattern"),
    "bad owner": ({"owner": "jo"}, "`owner`", "match pattern"),
    "no description": ({"description": ""}, "`description`", "at least 1 character"),
    "wrong hour": ({"schedule": "0 25 * * *"}, "`schedule`", "wrong hour"),
    "no models": ({"models": []}, "`models`", "at least 1 item"),
    "a model twice": ({"models": ["a", "a"]}, "`models`", "appears twice"),
    "model that is no name": ({"models": ["a; drop"]}, "`models.0`", "match pattern"),
    "other target": ({"target": "postgres"}, "`target`", "duckdb"),
    "text for a number": ({"freshness_hours": "26"}, "`freshness_hours`", "valid number"),
    "no freshness": ({"freshness_hours": 0}, "`freshness_hours`", "greater than 0"),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_that_are_not_understood_are_refused(tmp_path: Path, name: str) -> None:
    more, culprit, fix = ATTRIBUTES[name]
    error = refusal(product(tmp_path / "shop", PEOPLE, **more))
    assert error.culprit.startswith(f"{tmp_path.name}/shop/defs.yaml: ")
    assert culprit in error.culprit
    assert fix in error.fix


DEFINITIONS: dict[str, tuple[Any, str, str]] = {
    "no attributes": ({"type": COMPONENT}, "`attributes`", ""),
    "missing attribute": (
        {"type": COMPONENT, "attributes": {"name": "x"}},
        "lacks the attribute `owner`",
        "Add it",
    ),
    "other type": ({"type": "dagster.X", "attributes": {}}, "another type", COMPONENT),
    "no type": ({"attributes": {}}, "another type", COMPONENT),
    "other key": ({"type": COMPONENT, "attribute": {}}, "unknown key `attribute`", "`attributes`"),
    "post-processing": (
        {"type": COMPONENT, "attributes": {}, "post_processing": {}},
        "`post_processing`",
        "Use one of",
    ),
    "list": ([1], "not a mapping", "key: value"),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_that_is_not_understood_is_refused(tmp_path: Path, name: str) -> None:
    body, culprit, fix = DEFINITIONS[name]
    directory = product(tmp_path / "shop", PEOPLE)
    (directory / "defs.yaml").write_text(dump(body))
    error = refusal(directory)
    assert "shop/defs.yaml" in error.culprit
    assert culprit in error.culprit
    assert fix in error.fix


def test_a_definition_is_read_as_strictly_as_a_contract(tmp_path: Path) -> None:
    directory = product(tmp_path / "shop", PEOPLE)
    path = directory / "defs.yaml"
    path.write_text(path.read_text() + f'"type": "{COMPONENT}"\n')
    assert "`type` appears twice" in refusal(directory).culprit


def test_attributes_are_frozen_and_closed() -> None:
    said = {"name": "a", "owner": "a@b.org", "description": "x", "profile": "p", "models": ["m"]}
    attributes = ProductAttributes.model_validate(said)
    assert (attributes.target, attributes.schedule) == ("duckdb", None)
    assert attributes.models == ("m",)
    with pytest.raises(ValidationError):
        attributes.name = "b"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        ProductAttributes.model_validate({**said, "extra": 1})


def test_a_component_gives_the_same_product_as_the_file(tmp_path: Path) -> None:
    directory = product(
        tmp_path / "shop", PEOPLE, orders(), schedule="*/15 6-18 * * mon-fri", freshness_hours=26
    )
    loaded = load_product(directory)
    attributes = ProductAttributes(
        name="shop",
        owner="team:test",
        description="For tests.",
        profile="hipaa_safe_harbor",
        schedule="*/15 6-18 * * mon-fri",
        models=("summary",),
        freshness_hours=26,
    )
    assert product_from_attributes(directory, attributes) == loaded
    assert hash(product_from_attributes(directory, attributes)) == hash(loaded)
    assert isinstance(loaded.contracts, MappingProxyType)
    assert loaded.directory == directory


def test_the_digest_follows_attributes_and_contracts_only(tmp_path: Path) -> None:
    digests = [
        load_product(product(tmp_path / folder / "shop", *documents, **attributes)).digest
        for folder, documents, attributes in (
            ("a", (PEOPLE,), {}),
            ("b", (PEOPLE,), {}),
            ("c", (PEOPLE,), {"freshness_hours": 1}),
            ("d", (PEOPLE, orders()), {}),
            ("e", ({**PEOPLE, "version": "1.0.1"},), {}),
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_all_products_below_a_folder_are_found(tmp_path: Path) -> None:
    product(tmp_path / "b", PEOPLE)
    product(tmp_path / "group" / "a", PEOPLE)
    other = tmp_path / "other"
    other.mkdir()
    (other / "defs.yaml").write_text(
        "type: dagster.Something\nattributes: {start: 2024-01-01}\n---\nmore: 1\n"
    )
    assert list(load_products(tmp_path)) == ["a", "b"]


def test_two_products_do_not_share_a_name(tmp_path: Path) -> None:
    product(tmp_path / "a", PEOPLE, name="same")
    product(tmp_path / "b", PEOPLE, name="same")
    with pytest.raises(ContractError, match=r"b/defs\.yaml: the product `same` is defined twice"):
        load_products(tmp_path)


def test_contracts_without_a_product_are_not_overlooked(tmp_path: Path) -> None:
    (product(tmp_path / "a", PEOPLE) / "defs.yaml").rename(tmp_path / "a" / "def.yaml")
    with pytest.raises(ContractError, match=r"a/defs\.yaml: cannot be read"):
        load_products(tmp_path)
    with pytest.raises(ContractError, match="is not a folder"):
        load_products(tmp_path / "none")


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * *",
        "0 5 * * *",
        "*/15 0-6,18-23 1,15 jan-jun mon-fri",
        "0 0 * * 7",
        "59 23 31 12 0",
        "0 0 1 JAN SUN",
    ],
)
def test_schedules_are_accepted(schedule: str) -> None:
    assert wrong_field(schedule) is None


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ("", "number of fields"),
        ("0 5 * *", "number of fields"),
        ("0 5 * * * *", "number of fields"),
        ("@daily", "number of fields"),
        ("60 5 * * *", "minute"),
        ("5/10 5 * * *", "minute"),
        ("*/0 5 * * *", "minute"),
        ("x 5 * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 6-5 * * *", "hour"),
        ("0 5, * * *", "hour"),
        ("0 5 0 * *", "day of month"),
        ("0 5 * 13 *", "month"),
        ("0 5 * sun *", "month"),
        ("0 5 * * 8", "day of week"),
        ("0 5 * * -1", "day of week"),
    ],
)
def test_schedules_that_never_run_are_refused(schedule: str, field: str) -> None:
    assert wrong_field(schedule) == field


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_schedule_or_not(schedule: str) -> None:
    wrong_field(schedule)
