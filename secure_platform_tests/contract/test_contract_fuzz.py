"""Whatever is written into a contract or a product, it loads or it is refused; nothing else comes out."""

import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from contract_support import HEALTHCARE, column, custom, document, dump, foreign_key, product, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_platform.contract.load import load_contract, load_document
from secure_platform.contract.product import COMPONENT, load_product
from secure_platform.contract.schema import pandera_schema
from secure_platform.errors import ContractError

T = TypeVar("T")
SOURCES = {path.name: load_document(path) for path in sorted((HEALTHCARE / "contracts").glob("*.odcs.yaml"))}
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(
        ["string", "date", "restricted", "^a$", "^(?=a)$", "patients.Id", "2024-01-01", "../x.csv"]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def places(part: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every member of a document."""
    members = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, member in members:
        yield (*path, key)
        yield from places(member, (*path, key))


PLACES = {name: list(places(body)) for name, body in SOURCES.items()}


def outcome(load: Callable[[], T]) -> T | ContractError:
    """What is loaded, or the refusal; any other exception is a failure."""
    try:
        return load()
    except ContractError as error:
        return error


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(sorted(SOURCES)))
    body = copy.deepcopy(SOURCES[name])
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(PLACES[name]))
        part: Any = body
        try:
            for step in way:
                part = part[step]
            change = draw(st.sampled_from(["replace", "remove", "rename", "repeat"]))
            if change == "remove":
                del part[last]
            elif change == "rename" and isinstance(part, dict):
                part[draw(st.text(min_size=1, max_size=6))] = part.pop(last)
            elif change == "repeat" and isinstance(part, list):
                part.append(copy.deepcopy(part[int(last)]))
            else:
                part[last] = draw(values)
        except (KeyError, IndexError, TypeError, ValueError):
            continue
    return name, body


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(damaged())
def test_a_damaged_contract_loads_and_compiles_or_is_refused(
    tmp_path: Path, case: tuple[str, dict[str, Any]]
) -> None:
    name, body = case
    path = tmp_path / name
    path.write_text(dump(body), encoding="utf-8")
    loaded = outcome(lambda: load_contract(path))
    if isinstance(loaded, ContractError):
        assert name in loaded.culprit
        assert loaded.fix
        assert len(str(loaded)) < 800
        return
    pandera_schema(loaded)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values, st.sampled_from(["", "attributes", "name", "models", "schedule", "freshness_hours", "owner"]))
def test_a_damaged_product_loads_or_is_refused(tmp_path: Path, value: Any, where: str) -> None:
    directory = tmp_path / "shop"
    if not directory.exists():
        product(directory, document("things", column("a")))
    attributes: dict[str, Any] = load_document(HEALTHCARE / "defs.yaml")["attributes"]
    body: Any = {"type": COMPONENT, "attributes": {**attributes, where: value} if where else value}
    (directory / "defs.yaml").write_text(
        dump({**body, "attributes": value} if where == "attributes" else body)
    )
    loaded = outcome(lambda: load_product(directory))
    if isinstance(loaded, ContractError):
        assert "shop/defs.yaml" in loaded.culprit
        assert loaded.fix


@pytest.mark.slow
def test_a_thousand_contracts_load_in_moments(tmp_path: Path) -> None:
    columns = [
        column(
            f"c{number}",
            classification="confidential",
            description="A column.",
            logicalTypeOptions={"pattern": f"^[a-z]{{1,{number + 1}}}$"},
            customProperties=custom(infoType="RECORD_ID", quasiIdentifier=True),
        )
        for number in range(12)
    ]
    directory = product(tmp_path / "shop", document("d0", column("id", primaryKey=True), *columns))
    for number in range(1, 1000):
        parent = foreign_key("parent", f"d{number - 1}.id")
        write(
            directory / "contracts", document(f"d{number}", column("id", primaryKey=True), parent, *columns)
        )
    started = time.process_time()
    assert len(load_product(directory).contracts) == 1000
    assert time.process_time() - started < 10
