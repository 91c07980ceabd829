"""An interrupt at the commit of a sealed change leaves a home that opens: nothing is taken for tampering.

Python raises `KeyboardInterrupt` wherever it is: also between a commit and the record of its success.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import Connection

from secure_platform.contract.aggregates import Aggregate, Budget
from secure_platform.control.database import ControlDatabase
from secure_platform.files import replace_private
from secure_platform.homes import initialise
from secure_platform.keys.book_states import Book
from secure_platform.keys.catalog import StoredKey, name_of_domain
from secure_platform.keys.rows import KeyRows, _name
from secure_platform.protect.token_pages import OpenBook
from secure_platform.services import Services
from secure_platform.settings import load_settings

BUDGET = Budget(epsilon=5.0, period="forever")
TABLE = Aggregate.model_validate(
    {
        "name": "visits_by_month",
        "description": "Visits",
        "source": "visits",
        "contribution": {"groups": 1, "rows": 1},
        "measures": [{"name": "visits", "kind": "rows"}],
        "epsilon": 0.5,
    }
)
Ask = Callable[[Services], object]


def draw(services: Services) -> None:
    key = services.keys.token_key("vault:card", 1)
    pages = OpenBook(key, Book("vault:card", 1, date(2200, 1, 1), "hex"), services.keys.stored_tokens)
    pages.tokens(np.array([[1, 2]], np.uint64), pa.array(["4111"], pa.large_string()))


def add_principal(services: Services) -> None:
    if services.principals.get("eva") is None:
        services.principals.add("eva", roles=["data_engineer"], actor="admin")
    else:
        services.principals.change("eva", groups=["clinical"], actor="admin")


# What is changed → the change, which may be repeated, and what reads all that it wrote.
CHANGES: dict[str, tuple[Ask, Ask]] = {
    "a principal": (add_principal, lambda services: services.principals.list()),
    "a key": (
        lambda services: services.keys.lifecycle.rotate("data", actor="eva"),
        lambda services: services.keys.new_data_key({}),
    ),
    "a token key": (
        lambda services: services.keys.lifecycle.rotate(name_of_domain("person"), actor="eva"),
        lambda services: services.keys.token_key("person", services.keys.token_version("person")),
    ),
    "stored tokens": (draw, lambda services: services.keys.stored_tokens.books("vault:card")),
    "a privacy budget": (
        lambda services: services.budget.spend("clinic", BUDGET, TABLE, "a", 1, actor="eva"),
        lambda services: services.budget.spends("clinic"),
    ),
    "a person's key": (
        lambda services: services.keys.destroy_subject_key("person", "7", actor="eva"),
        lambda services: services.keys.persons("person").made(["7", "8"]),
    ),
    "a secret": (
        lambda services: services.local_secrets.set("mail", b"x", actor="eva"),
        lambda services: services.local_secrets.names(),
    ),
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("fresh") / "home"
    initialise(load_settings(home=home))
    services = Services(load_settings(home=home))
    services.keys.token_key("person", services.keys.token_version("person"))
    services.keys.persons("person").made(["7"])
    return home


@pytest.fixture
def home(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "home"))


def opened(home: Path) -> Services:
    return Services(load_settings(home=home))


def interrupt(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Let the next change be interrupted just before its last write is durable, or just after."""
    write = ControlDatabase.write

    @contextmanager
    def interrupted(database: ControlDatabase) -> Iterator[Connection]:
        with write(database) as connection:
            yield connection
            if where == "before":
                raise KeyboardInterrupt
        raise KeyboardInterrupt

    def interrupted_file(file: Path, content: bytes) -> None:
        if where == "after":
            replace_private(file, content)
        raise KeyboardInterrupt

    monkeypatch.setattr(ControlDatabase, "write", interrupted)
    monkeypatch.setattr("secure_platform.keys.secrets.local.replace_private", interrupted_file)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("what", CHANGES)
def test_after_an_interrupt_at_the_commit_the_home_opens_and_the_change_can_be_repeated(
    home: Path, monkeypatch: pytest.MonkeyPatch, what: str, where: str
) -> None:
    change, read = CHANGES[what]
    services = opened(home)
    with monkeypatch.context() as patch:
        interrupt(patch, where)
        with pytest.raises(KeyboardInterrupt):
            change(services)
    read(services)
    read(opened(home))
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        interrupt(patch, where)
        change(services)
    read(services)
    change(opened(home))
    read(services)


def test_the_keys_of_a_home_whose_announcement_failed_are_announced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were written before it: a failure that names none of them says nothing against them."""
    settings = load_settings(home=tmp_path / "home")

    def interrupted(rows: KeyRows, keys: Sequence[StoredKey], *, actor: str) -> None:
        detail = {"sealed": {_name(row): row.seal for row in keys}}
        with rows.log.effect("key.create", actor=actor, subject="keys", detail=detail):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeyRows, "announce", interrupted)
        with pytest.raises(KeyboardInterrupt):
            initialise(settings)
    initialise(settings)
    assert not Services(settings).keys._rows.is_silent()
