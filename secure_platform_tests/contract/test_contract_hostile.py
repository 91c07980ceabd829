"""Names that break SQL, dbt, file systems or terminals: refused by the contract, or carried on exactly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from contract_support import column, custom, document, foreign_key, product, write

from secure_platform.contract.load import load_contract
from secure_platform.contract.model import Contract
from secure_platform.contract.product import load_product
from secure_platform.errors import ContractError
from secure_platform.store.duckdb import quote_identifier

NAMES = [
    'a"b',
    "a'b",
    "a`b",
    "a;b",
    "a--b\n",
    "a/*b",
    "a\\b",
    "a\0b",
    "a\x1b[2Jb",
    "{{ env_var('HOME') }}",
    "{% raw %}",
    "{# #}",
    "${HOME}",
    "$(id)",
    "a.b",
    "a,b",
    "=a",
    "-a",
    " a",
    "a ",
    "1a",
    "__a",
    "a" * 64,
    "é" * 32,
    "\u0430bc",
    "a\u200bb",
    "a\u202eb",
    "a\ufeff",
    "\uff41",
    "..",
    "a/b",
    "",
]
RESERVED = [
    "select",
    "Order",
    "group",
    "user",
    "table",
    "null",
    "true",
    "data",
    "main",
    "rowid",
    "a-b",
    "a b",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_column_name_that_breaks_something_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContractError) as caught:
        load_contract(write(tmp_path, document("things", column(name))))
    assert str(caught.value).isprintable()


PLACES: dict[str, Callable[[str], tuple[dict[str, Any], dict[str, Any]]]] = {
    "dataset": lambda name: (document(name, column("a")), {}),
    "product": lambda name: (document("things", column("a")), {"name": name}),
    "model": lambda name: (document("things", column("a")), {"models": [name]}),
    "domain": lambda name: (document("things", column("a", customProperties=custom(tokenDomain=name))), {}),
    "key": lambda name: (document("things", foreign_key("a", f"things.{name}")), {}),
}


@pytest.mark.parametrize("place", PLACES)
def test_such_a_name_is_no_dataset_product_model_domain_or_key(tmp_path: Path, place: str) -> None:
    for number, name in enumerate(NAMES):
        body, attributes = PLACES[place](name)
        folder = product(tmp_path / str(number), **{"name": "p", **attributes})
        (folder / "contracts" / "things.odcs.yaml").write_text(json.dumps(body), encoding="utf-8")
        with pytest.raises(ContractError) as caught:
            load_product(folder)
        assert str(caught.value).isprintable()


def test_hostile_strings_are_refused_as_names_and_carried_as_descriptions(
    naughty_strings: list[str], tmp_path: Path
) -> None:
    described = {
        text for text in naughty_strings if loaded(tmp_path, column("a", description=text)) is not None
    }
    assert len(described) > 450
    for text in described:
        found = loaded(tmp_path, column("a", description=text))
        assert found is not None
        assert found.column("a").description == text
    names = {text for text in naughty_strings if loaded(tmp_path, column(text)) is not None}
    assert len(names) > 10
    assert all(name.isascii() and name.isprintable() and len(name) <= 63 for name in names)


def loaded(directory: Path, body: dict[str, Any]) -> Contract | None:
    """The contract of this one column, unless it is refused, in words that a terminal can show."""
    path = directory / "things.odcs.yaml"
    path.write_text(json.dumps(document("things", body)), encoding="utf-8")
    try:
        return load_contract(path)
    except ContractError as error:
        if not str(error).isprintable():
            raise
        return None


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_word_is_a_column_like_any_other(tmp_path: Path, name: str) -> None:
    found = load_contract(write(tmp_path, document("things", column(name))))
    quoted = quote_identifier(found.columns[0].name)
    with duckdb.connect(":memory:") as database:
        database.execute(f"CREATE TABLE {quoted} AS SELECT 7 AS {quoted}")
        read = database.execute(f"FROM {quoted}")
        assert read.fetchall() == [(7,)]
        assert read.description is not None
        assert read.description[0][0] == name
