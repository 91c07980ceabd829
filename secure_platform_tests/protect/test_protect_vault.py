"""Stored tokens are drawn once, agreed on, told until their day, and by nobody who edits the rows."""

import base64
import multiprocessing
import os
import sqlite3
import tracemalloc
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protect_examples import DerivedKeys, KeptTokens, column, contract, dataset_plan, product, refused, typed

from secure_platform import canonical
from secure_platform.audit.log import AuditLog
from secure_platform.audit.seals import SealWitness
from secure_platform.contract.model import Column, Reference
from secure_platform.control.database import ControlDatabase
from secure_platform.errors import DataRefusedError, IntegrityError, PlanRefusedError, UsageError
from secure_platform.keys.book_states import Book, BookStates
from secure_platform.keys.envelope import Envelope
from secure_platform.keys.material import derive, hmac_sha256
from secure_platform.keys.signing import LogSigner
from secure_platform.keys.stored_tokens import UNREAD, Made, Page, Seen, StoredTokens
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.execute import apply, undo
from secure_platform.protect.plan import DatasetPlan
from secure_platform.protect.token_pages import PAGE_BYTES, PAGE_ROWS, OpenBook, _Index, _paged, words_of
from secure_platform.protect.vault import kept_values, known_tokens, last_day

FREE = "gdpr_pseudonymous"
TODAY = datetime.now(UTC).date()
VALUES = ["4111111111111111", None, "", "é", "4111111111111111", "b"]


class Kept(DerivedKeys):
    """Keys beside the tokens of a control database."""

    def __init__(self, path: Path) -> None:
        self.database = ControlDatabase.at(path)
        signer = LogSigner("o/t", bytes(32))
        log = AuditLog(path.with_suffix(".log"), origin="o/t", signer=signer, identify=lambda name: name)
        self.states = BookStates(log, SealWitness(log, log.sealed_keys))
        self.stored_tokens: Any = StoredTokens(self.database, self.states)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "control.db")
    kept.database.migrate()
    yield kept
    kept.database.close()


def card(**more: Any) -> Column:
    asked = {"transform": "vault", "ttl": more.pop("ttl", 90), **more.pop("asked", {})}
    return column("card", protect=asked, token_domain="card", **more)


def plan_of(*columns: Column, today: date = TODAY) -> DatasetPlan:
    made = compile_plan(product(contract("people", *columns), profile=FREE), lambda _: 1, today, today)
    return made.datasets["people"]


def tokens(keys: DerivedKeys, values: Sequence[Any], plan: DatasetPlan | None = None) -> list[Any]:
    frame = typed([card()], {"card": list(values)})
    return apply(plan or plan_of(card()), frame, keys).collect()["card"].to_list()


def told(keys: DerivedKeys, cells: Sequence[Any], plan: DatasetPlan | None = None) -> list[Any]:
    return undo(plan or plan_of(card()), pl.DataFrame({"card": cells}), keys)["card"].to_list()


def change(keys: Kept, statement: str, *values: Any) -> None:
    path = Path(keys.database._engine.url.database or "")
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount


# --- what a token is


def test_a_value_keeps_its_token_in_every_run_and_it_comes_back(keys: Kept) -> None:
    first = tokens(keys, VALUES)
    assert first[0] == first[4]
    assert [cell is None for cell in first] == [value is None for value in VALUES]
    again = Kept(Path(keys.database._engine.url.database or ""))
    assert tokens(again, VALUES[::-1]) == first[::-1]
    assert told(again, first) == VALUES
    again.database.close()


def test_what_nobody_knows_is_unknown_and_no_more_is_said_of_it(keys: Kept) -> None:
    (token,) = tokens(keys, ["a"])
    others = ["v_" + "0" * 32, token[:-1], token.upper(), token + "\n", "t1_" + token[2:], "", None]
    assert told(keys, [*others, token]) == [None] * len(others) + ["a"]


def test_two_homes_give_the_same_value_unrelated_tokens(keys: Kept, tmp_path: Path) -> None:
    """With all keys, too: what is drawn cannot be computed."""
    other = Kept(tmp_path / "other.db")
    other.database.migrate()
    assert not set(tokens(keys, ["a", "b"])) & set(tokens(other, ["a", "b"]))
    other.database.close()


def test_the_page_is_what_the_documentation_says(keys: Kept) -> None:
    """Opened with the library alone, by the construction that the module describes."""
    (token,) = tokens(keys, ["4111111111111111"])
    (book,) = keys.stored_tokens.books("vault:card")
    ((number, sealed),) = keys.stored_tokens.pages(book)
    key = keys.bytes("vault:card")
    told_with = canonical.dumps(["vault:card", 1, book.until.isoformat(), "hex", number])
    content = Envelope(derive(key, "stored-token|page")).open(sealed, told_with, name="it")
    (row,) = pa.ipc.open_stream(content).read_all().to_pylist()
    finding = derive(key, f"stored-token|lookup|{book.until}|hex").hex().encode()
    assert row == {
        "lookup": hmac_sha256(finding, b"4111111111111111")[:16],
        "token": bytes.fromhex(token.removeprefix("v_")),
        "text": "4111111111111111",
    }


@pytest.mark.parametrize("form", ["hex", "base32", "uuid"])
def test_every_spelling_is_read_again(keys: Kept, form: str) -> None:
    plan = plan_of(card(asked={"format": form}))
    made = tokens(keys, [str(n) for n in range(500)], plan)
    assert told(keys, made, plan) == [str(n) for n in range(500)]
    if form == "uuid":
        assert {(uuid.UUID(cell).version, uuid.UUID(cell).variant) for cell in made} == {(4, uuid.RFC_4122)}
    elif form == "base32":
        assert all(len(base64.b32decode(cell.removeprefix("v_") + "======")) == 16 for cell in made)
    other = tokens(keys, ["0"], plan_of(card(asked={"format": "hex" if form == "uuid" else "uuid"})))
    assert told(keys, other, plan) == [None]


def test_no_value_and_no_token_is_in_the_database_in_clear(keys: Kept, tmp_path: Path) -> None:
    value = "a value that nobody else would write"
    (token,) = tokens(keys, [value])
    keys.database.scrub()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for needle in (value.encode(), token.encode(), bytes.fromhex(token.removeprefix("v_"))):
        assert needle not in written


# --- until when


@given(today=st.dates(date(1970, 1, 1), date(2200, 1, 1)), ttl=st.integers(1, 3650))
def test_all_tokens_of_a_time_end_on_one_day_which_is_never_too_late(today: date, ttl: int) -> None:
    until = last_day(today, ttl)
    assert timedelta(0) <= until - today < timedelta(days=ttl)
    assert last_day(until, ttl) == until
    assert last_day(until + timedelta(days=1), ttl) == until + timedelta(days=ttl)


def test_after_their_day_tokens_are_not_told_and_values_get_others(keys: Kept) -> None:
    old = plan_of(card(), today=TODAY - timedelta(days=90))
    was = tokens(keys, ["a", "b"], old)
    with pytest.raises(UsageError, match="and no longer"):
        told(keys, was, old)
    now = tokens(keys, ["a", "b"])
    assert not set(was) & set(now)
    assert told(keys, was) == [None, None], "by the plan of today neither"
    assert told(keys, now) == ["a", "b"]


def test_a_plan_stays_the_same_until_the_day() -> None:
    until = last_day(TODAY, 90)
    days = [plan_of(card(), today=day) for day in (until - timedelta(days=89), until)]
    assert days[0] == days[1] != plan_of(card(), today=until + timedelta(days=1))
    assert days[0].columns[0].params == {"ttl": 90, "format": "hex", "until": until.isoformat()}


# --- all who ask agree


def test_threads_agree(keys: Kept) -> None:
    values = [str(n) for n in range(2000)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda turn: tokens(keys, values[turn:] + values[:turn]), range(0, 2000, 250)))
    for turn, each in enumerate(made):
        start = len(values) - turn * 250
        assert each[start:] + each[:start] == made[0]
    assert len(set(made[0])) == len(values)


def ask(path: Path, turn: int) -> list[str]:
    kept = Kept(path)
    values = [str(n) for n in range(turn, turn + 1000)]
    found = dict(zip(values, tokens(kept, values), strict=True))
    kept.database.close()
    return [found[str(n)] for n in range(900, 1000)]


@pytest.mark.usefixtures("keys")
def test_processes_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        made = pool.starmap(ask, [(tmp_path / "control.db", turn) for turn in (0, 300, 600, 900)])
    assert made[0] == made[1] == made[2] == made[3]


@pytest.mark.parametrize("before", [[], ["b"]])
def test_a_book_that_is_changed_just_after_it_was_read_counts(
    keys: Kept, monkeypatch: pytest.MonkeyPatch, before: list[str]
) -> None:
    """Also if that was the first change of which the log told: an empty book was never announced."""
    was = tokens(keys, before) if before else []
    other, read = Kept(Path(keys.database._engine.url.database or "")), keys.database.read
    drawn: list[Any] = []

    @contextmanager
    def read_and_wait() -> Iterator[Any]:
        with read() as connection:
            yield connection
        drawn.extend(tokens(other, ["a"]) if not drawn else [])

    monkeypatch.setattr(keys.database, "read", read_and_wait)
    made = tokens(keys, ["a", "b"])
    assert made[0] == drawn[0]
    assert was == made[1:][: len(before)]
    other.database.close()


def test_what_was_not_committed_is_nobodys_token(keys: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    (before,) = tokens(keys, ["a"])

    class Dying(StoredTokens):
        def append(self, book: Book, after: Seen, make: Callable[..., Sequence[Made]]) -> None:
            def fail(newer: Sequence[Page], first: int) -> Sequence[Made]:
                make(newer, first)
                raise OSError(28, "No space left on device")

            super().append(book, after, fail)

    kept = keys.stored_tokens
    monkeypatch.setattr(keys, "stored_tokens", Dying(keys.database, keys.states))
    expression = apply(plan_of(card()), typed([card()], {"card": ["a", "b"]}), keys)
    with pytest.raises((OSError, pl.exceptions.ComputeError)):
        expression.collect()
    keys.stored_tokens = kept
    (book,) = kept.books("vault:card")
    assert [number for number, _ in kept.pages(book)] == [1]
    assert tokens(keys, ["a"]) == [before]


def test_a_batch_of_many_values_takes_few_pages(keys: Kept) -> None:
    made = tokens(keys, [str(n) for n in range(200_000)])
    assert len(set(made)) == 200_000
    (book,) = keys.stored_tokens.books("vault:card")
    assert len(keys.stored_tokens.pages(book)) <= 8
    assert keys.stored_tokens.count("vault:card") == keys.stored_tokens.count("vault:card", 1) == 200_000
    assert keys.stored_tokens.count("vault:card", 2) == 0


def test_a_page_of_long_texts_ends_before_it_is_large(keys: Kept) -> None:
    values = [f"{n}".ljust(PAGE_BYTES // 3, "x") for n in range(7)] + ["y" * (PAGE_BYTES + 1), "z"]
    made = tokens(keys, values)
    assert len(set(made)) == len(values)
    (book,) = keys.stored_tokens.books("vault:card")
    pages = keys.stored_tokens.pages(book)
    assert len(pages) >= len("".join(values)) / PAGE_BYTES
    assert tokens(keys, values[::-1]) == made[::-1]
    assert told(keys, made) == values
    assert list(keys.stored_tokens.each(book)) == pages


def test_pages_are_read_one_by_one_to_tell_what_a_token_stands_for(keys: Kept) -> None:
    pages = OpenBook(keys.token_key("vault:card", 1), Book("vault:card", 1, TODAY, "hex"), keys.stored_tokens)
    texts = pa.array([os.urandom(PAGE_BYTES // 2).hex() for _ in range(12)], pa.large_string())
    made = pages.tokens(halves([(n, n) for n in range(12)]), texts)
    sealed = sum(len(page) for _, page in keys.stored_tokens.pages(pages.book))
    tracemalloc.start()
    try:
        assert pages.texts({made[7].tobytes()}) == {made[7].tobytes(): texts[7].as_py()}
        assert tracemalloc.get_traced_memory()[1] < sealed * 3 / 4
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([5], [1]),
        ([PAGE_BYTES, 0, 1], [2, 1]),
        ([1, PAGE_BYTES + 1, 1], [1, 1, 1]),
        ([PAGE_BYTES // 2] * 5, [2, 2, 1]),
        ([0] * (PAGE_ROWS + 1), [PAGE_ROWS, 1]),
    ],
)
def test_a_page_ends_by_its_rows_or_its_text(lengths: list[int], expected: list[int]) -> None:
    texts = pa.array(["skipped", *("x" * length for length in lengths)], pa.large_string())
    parts = list(_paged(np.arange(1, len(lengths) + 1), texts))
    assert [len(part) for part in parts] == expected
    assert [row for part in parts for row in part.tolist()] == list(range(1, len(lengths) + 1))


@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**64 - 1)), max_size=20), max_size=8
    )
)
def test_an_index_finds_what_was_added_even_where_halves_meet(batches: list[list[tuple[int, int]]]) -> None:
    index, known = _Index(), dict[tuple[int, int], tuple[int, int]]()
    for batch in batches:
        new = [pair for pair in dict.fromkeys(batch) if pair not in known]
        known |= {pair: (pair[1], pair[0] + 7) for pair in new}
        index.add(halves(new), halves([known[pair] for pair in new]))
    asked = [*known, (9, 9), *((first, second ^ 1) for first, second in known)]
    found, tokens_ = index.find(halves(asked))
    assert found.tolist() == [pair in known for pair in asked]
    right = [known[pair] for pair in asked if pair in known]
    assert [tuple(row) for row in tokens_[found].tolist()] == right


def halves(pairs: Sequence[tuple[int, int]]) -> Any:
    return np.array(pairs, np.uint64).reshape(-1, 2)


# --- who can write to the database


SWAPPED = """UPDATE token_page SET sealed =
    (SELECT other.sealed FROM token_page other WHERE other.page != token_page.page)"""


@pytest.mark.parametrize(
    "statement",
    [
        SWAPPED,
        "DELETE FROM token_page WHERE page = 1",
        "UPDATE token_page SET page = 3 WHERE page = 2",
        "UPDATE token_page SET sealed = substr(sealed, 1, length(sealed) - 1) WHERE page = 1",
        "UPDATE token_page SET sealed = 'text' WHERE page = 1",
        "UPDATE token_page SET sealed = 7 WHERE page = 1",
        "UPDATE token_page SET sealed = x'' WHERE page = 1",
    ],
)
def test_pages_that_were_edited_give_no_token_and_no_value(keys: Kept, statement: str) -> None:
    first = tokens(keys, ["a"])
    tokens(keys, ["b"])
    change(keys, statement)
    with pytest.raises(IntegrityError, match="not in the control database as they were written"):
        tokens(keys, ["a", "c"])
    with pytest.raises(IntegrityError, match="not in the control database as they were written"):
        told(keys, first)


def test_nobody_extends_a_day_by_editing_it(keys: Kept) -> None:
    old = plan_of(card(), today=TODAY - timedelta(days=90))
    was = tokens(keys, ["a"], old)
    change(keys, "UPDATE token_book SET until = ?", plan_of(card()).columns[0].params["until"])
    with pytest.raises(IntegrityError, match="as they were written"):
        told(keys, was)


def test_a_book_of_another_domain_or_version_does_not_open(keys: Kept) -> None:
    was = tokens(keys, ["a"])
    for statement in ("UPDATE token_book SET version = 2", "UPDATE token_book SET domain = 'vault:other'"):
        change(keys, statement)
        with pytest.raises(IntegrityError, match="as they were written last"):
            told(keys, was)
    other = column("card", protect={"transform": "vault", "ttl": 90}, token_domain="other")
    change(keys, "UPDATE token_book SET version = 1")
    with pytest.raises(IntegrityError):
        told(keys, was, plan_of(other))


# --- forgetting


def test_what_is_forgotten_is_unknown_and_the_rest_is_not(keys: Kept) -> None:
    values = [str(n) for n in range(300)]
    made = tokens(keys, values)
    tokens(keys, ["x"])
    (found,) = known_tokens("vault:card", {"7", "8", "never"}, keys.stored_tokens, key_of(keys))
    pages, known = found
    assert sorted(known.values()) == sorted(made[7:9])
    keys.stored_tokens.rewrite(pages.book, partial(pages.without, known.keys()))
    assert told(keys, made) == [None if n in (7, 8) else value for n, value in enumerate(values)]
    assert keys.stored_tokens.count("vault:card") == 299
    anew = tokens(keys, values)
    assert anew[:7] + anew[9:] == made[:7] + made[9:]
    assert not {*anew[7:9]} & {*made}


def test_tokens_under_a_destroyed_key_are_not_looked_for(keys: Kept) -> None:
    tokens(keys, ["a"])
    assert list(known_tokens("vault:card", {"a"}, keys.stored_tokens, lambda _: None)) == []


def key_of(keys: Kept) -> Callable[[int], Any]:
    return lambda version: keys.token_key("vault:card", version)


def test_a_closed_book_is_gone_and_begins_anew(keys: Kept) -> None:
    made = tokens(keys, ["a"])
    (book,) = keys.stored_tokens.books("vault:card")
    keys.stored_tokens.close(book)
    assert (keys.stored_tokens.books("vault:card"), told(keys, made)) == ([], [None])
    assert tokens(keys, ["a"]) != made


def asked_of(pages: OpenBook, *numbers: int) -> Any:
    flat = np.frombuffer(b"".join(number.to_bytes(16, "big") for number in numbers), np.uint8)
    return pages.tokens(words_of(flat), pa.array([str(number) for number in numbers], pa.large_string()))


@pytest.mark.parametrize("begun_anew", [False, True])
@pytest.mark.parametrize("by", ["close", "rewrite"])
def test_who_has_a_book_open_from_which_tokens_were_deleted_runs_again(
    keys: Kept, by: str, *, begun_anew: bool
) -> None:
    store, book = keys.stored_tokens, Book("vault:card", 1, TODAY, "hex")
    pages = OpenBook(keys.token_key("vault:card", 1), book, store)
    asked_of(pages, 1, 2)
    asked_of(pages, 3)
    if by == "close":
        store.close(book)
    else:
        store.rewrite(book, partial(pages.without, {(1).to_bytes(16, "big")}))
    fresh = OpenBook(keys.token_key("vault:card", 1), book, store)
    if begun_anew:
        asked_of(fresh, *((7, 8) if by == "close" else (1,)))
        asked_of(fresh, 9)
    before = store.pages(book)
    for ask_ in (lambda: asked_of(pages, 4), lambda: pages.known(halves([]))):
        with pytest.raises(DataRefusedError, match="while they were in use"):
            ask_()
    assert store.pages(book) == before
    again = OpenBook(keys.token_key("vault:card", 1), book, store)
    assert (asked_of(again, 4) == asked_of(fresh, 4)).all(), "nobody is told of an edited page"


# --- an older copy


def copied(keys: Kept) -> Callable[[], None]:
    """A copy of the books as they are now; what puts it back."""
    path = Path(keys.database._engine.url.database or "")
    with closing(sqlite3.connect(path)) as connection:
        books = connection.execute("SELECT * FROM token_book").fetchall()
        pages = connection.execute("SELECT * FROM token_page").fetchall()

    def put_back() -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM token_page")
            connection.execute("DELETE FROM token_book")
            connection.executemany("INSERT INTO token_book VALUES (?, ?, ?, ?, ?)", books)
            connection.executemany("INSERT INTO token_page VALUES (?, ?, ?, ?)", pages)

    return put_back


def forget(keys: Kept, *values: str) -> None:
    (found,) = known_tokens("vault:card", set(values), keys.stored_tokens, key_of(keys))
    pages, known = found
    keys.stored_tokens.rewrite(pages.book, partial(pages.without, known.keys()))


def require_refused(keys: Kept, was: Sequence[Any]) -> None:
    """Nobody draws, tells, looks up or forgets, in this process or another."""
    again = Kept(Path(keys.database._engine.url.database or ""))
    asks: list[Callable[[Kept], object]] = [
        lambda kept: tokens(kept, ["a", "new"]),
        lambda kept: told(kept, was),
        lambda kept: list(known_tokens("vault:card", {"a"}, kept.stored_tokens, key_of(keys))),
        lambda kept: kept_values("vault:card", {was[0]}, kept.stored_tokens, key_of(keys)),
    ]
    for kept in (keys, again):
        for ask_ in asks:
            with pytest.raises(IntegrityError, match="written last: an older copy was put back"):
                ask_(kept)
    again.database.close()


@pytest.mark.parametrize("since", ["drawn", "forgotten", "begun"])
def test_an_older_copy_of_a_book_tells_and_draws_nothing(keys: Kept, since: str) -> None:
    if since == "begun":
        put_back = copied(keys)
        was = tokens(keys, ["a", "b"])
    else:
        was = tokens(keys, ["a", "b"])
        put_back = copied(keys)
    if since == "drawn":
        tokens(keys, ["c"])
    elif since == "forgotten":
        forget(keys, "b")
    newest = copied(keys)
    put_back()
    require_refused(keys, was)
    newest()
    assert told(keys, was)[0] == "a", "the newest copy is as good as it was"
    assert tokens(keys, ["a"]) == was[:1]


def test_a_book_that_is_hidden_while_somebody_is_erased_does_not_bring_them_back(keys: Kept) -> None:
    was = tokens(keys, ["a", "b"])
    put_back = copied(keys)
    change(keys, "DELETE FROM token_page")
    change(keys, "DELETE FROM token_book")
    with pytest.raises(IntegrityError, match="an older copy was put back"):
        forget(keys, "b")
    put_back()
    forget(keys, "b")
    put_back()
    require_refused(keys, was)


def test_what_was_closed_is_not_brought_back_and_what_is_lost_can_be_closed(keys: Kept) -> None:
    was = tokens(keys, ["a"])
    put_back = copied(keys)
    (book,) = keys.stored_tokens.books("vault:card")
    keys.stored_tokens.close(book)
    put_back()
    require_refused(keys, was)
    assert keys.stored_tokens.known() == [book]
    keys.stored_tokens.close(book)
    assert (keys.stored_tokens.known(), told(keys, was)) == ([], [None])
    anew = tokens(keys, ["a"])
    change(keys, "DELETE FROM token_page")
    change(keys, "DELETE FROM token_book")
    assert keys.stored_tokens.known() == [book], "the log knows that it is missing"
    keys.stored_tokens.close(book)
    assert told(keys, anew) == [None]


def test_a_book_of_an_earlier_version_counts_until_it_is_changed(tmp_path: Path, keys: Kept) -> None:
    was = tokens(keys, ["a"])
    for path in tmp_path.glob("control.log*"):
        path.unlink()
    earlier = Kept(tmp_path / "control.db")
    put_back = copied(earlier)
    assert told(earlier, was) == ["a"]
    tokens(earlier, ["b"])
    put_back()
    require_refused(earlier, was)
    earlier.database.close()


def test_nothing_is_added_to_an_older_copy_so_that_it_would_count_again(keys: Kept) -> None:
    """Whoever opened the book before the copy was put back has no need to look at it again."""
    was = tokens(keys, ["a"])
    put_back = copied(keys)
    forget(keys, "a")
    (book,) = keys.stored_tokens.books("vault:card")
    put_back()
    with pytest.raises(IntegrityError, match="an older copy was put back"):
        keys.stored_tokens.append(book, UNREAD, lambda _, __: [(b"sealed", 1)])
    with pytest.raises(IntegrityError, match="an older copy was put back"):
        keys.stored_tokens.rewrite(book, lambda page: (page[1], 1))
    require_refused(keys, was)


@pytest.mark.parametrize("dies", ["before", "after"])
def test_after_a_crash_at_the_commit_the_book_goes_on(
    keys: Kept, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    """Announced and not done: what is there counts, whether it is the one or the other, until the next."""
    (was,) = tokens(keys, ["a"])
    announce, unfinished = keys.states.announce, list[ExitStack]()

    def die(changes: ExitStack, book: Book, state: str) -> None:
        announce(changes, book, state)
        unfinished.append(changes.pop_all())
        if dies == "before":
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(keys.states, "announce", die)
        if dies == "before":
            with pytest.raises((OSError, pl.exceptions.ComputeError)):
                tokens(keys, ["b"])
        else:
            tokens(keys, ["b"])
    put_back = copied(keys)
    again = Kept(Path(keys.database._engine.url.database or ""))
    assert told(again, [was]) == ["a"]
    tokens(again, ["c"])
    put_back()
    require_refused(again, [was])
    again.database.close()


# --- in a plan


def test_without_a_number_of_days_it_is_refused() -> None:
    assert "without `ttl`" in refused(column("v", protect="vault"), profile=FREE)
    for ttl in (0, 3651, 1.5, "7"):
        asked = {"transform": "vault", "ttl": ttl}
        assert "ttl outside its limits" in refused(column("v", protect=asked), profile=FREE)


def test_a_foreign_key_has_the_book_of_its_key(keys: Kept) -> None:
    parent = contract("people", card(primary_key=True, level="public"))
    child = contract("visits", column("p", reference=Reference("people", "card")))
    plans = compile_plan(product(parent, child, profile=FREE), lambda _: 1, TODAY, TODAY).datasets
    (own,), (foreign,) = plans["people"].columns, plans["visits"].columns
    assert (own.token_domain, own.params) == (foreign.token_domain, foreign.params)
    made = apply(plans["visits"], typed([column("p")], {"p": ["b", "a"]}), keys).collect()["p"].to_list()
    assert tokens(keys, ["a", "b"], plans["people"]) == made[::-1]


def test_two_columns_of_a_domain_have_one_time_and_spelling() -> None:
    for other in ({"ttl": 30}, {"format": "uuid"}):
        second = column(
            "w",
            protect={"transform": "vault", "ttl": 90, **other},
            token_domain="card",
        )
        with pytest.raises(PlanRefusedError, match="not spelled alike"):
            dataset_plan(card(), second, profile=FREE)


def test_inside_json_it_is_refused() -> None:
    inside = column("v.a", protect={"transform": "vault", "ttl": 90})
    assert "inside JSON" in refused(column("v", "string", members=(inside,)), profile=FREE)


def test_of_two_parts_only_its_own_values_are_kept() -> None:
    keys = DerivedKeys()
    keys.stored_tokens = KeptTokens()
    part = {"transform": "vault", "ttl": 3650}
    nested = {
        "transform": "conditional",
        "when": {"column": "n", "below": 4},
        "then": {
            "transform": "conditional",
            "when": {"column": "n", "below": 2},
            "then": "tokenize",
            "otherwise": part,
        },
        "otherwise": "tokenize",
    }
    columns = [column("card", protect=nested), column("n", "integer")]
    plan = dataset_plan(*columns, profile=FREE)
    frame = typed(columns, {"card": list("abcdef"), "n": list(range(6))})
    made = apply(plan, frame, keys).collect()["card"].to_list()
    assert [cell[:2] for cell in made] == ["t1", "t1", "v_", "v_", "t1", "t1"]
    (book,) = keys.stored_tokens.kept
    key = keys.token_key(book.domain, 1)
    ((_, known),) = known_tokens(book.domain, set("abcdef"), keys.stored_tokens, lambda _: key)
    assert sorted(known.values()) == sorted(made[2:4])


def test_it_stands_for_encryption_and_not_for_a_token_of_the_key() -> None:
    number = column(
        "v", level="restricted", info_type="CREDIT_CARD", protect={"transform": "vault", "ttl": 90}
    )
    assert dataset_plan(number, profile="pci").columns[0].transform == "vault"
    person = column("v", level="restricted", info_type="US_SSN", protect={"transform": "vault", "ttl": 90})
    assert "weaker than tokenize" in refused(person, profile=FREE)


def test_without_entropy_nothing_is_drawn(keys: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> bytes:
        raise NotImplementedError

    monkeypatch.setattr(os, "urandom", fail)
    with pytest.raises((NotImplementedError, pl.exceptions.ComputeError)):
        tokens(keys, ["a"])
