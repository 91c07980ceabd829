"""The vectorised splitter against the grammar of RFC 4180, written as the plainest possible state machine."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secure_platform.source import records
from secure_platform.source.records import BROKEN, split

Record = tuple[int, int, int]

hostile = st.lists(
    st.sampled_from([b"a", b",", b'"', b'""', b"\n", b"\r\n", b"\r", "é".encode(), b"\0"]), max_size=60
).map(b"".join)


def break_in(data: bytes, start: int) -> tuple[int | None, int | None, int]:
    """Offset of the first break, offset behind the record, fields: of the record at `start`, byte by byte."""
    state, fields = "start", 1
    for i in range(start, len(data)):
        byte, following = data[i : i + 1], data[i + 1 : i + 2]
        if state == "quoted":
            state = "closed" if byte == b'"' else state
        elif byte == b'"':
            if state == "plain":
                return i, None, fields
            # In "closed" this is the second half of a doubled quote.
            state = "quoted"
        elif byte == b"\n":
            return None, i + 1, fields
        elif byte == b"\r" and following not in (b"\n", b""):
            return (i - 1 if state == "closed" else i), None, fields
        elif byte == b",":
            state, fields = "start", fields + 1
        elif byte != b"\r":
            if state == "closed":
                return i - 1, None, fields
            state = "plain"
    return None, None if state == "quoted" else len(data), fields


def expected(data: bytes) -> tuple[list[Record], int]:
    """All records of a whole text, and how many of its bytes they are."""
    found: list[Record] = []
    position = 0
    while position < len(data):
        broken_at, stop, fields = break_in(data, position)
        if broken_at is None and stop is None:
            break
        if broken_at is None:
            assert stop is not None
            found.append((position, stop, fields))
        else:
            feed = data.find(b"\n", broken_at)
            stop = len(data) if feed < 0 else feed + 1
            for line in data[position:stop].split(b"\n"):
                if position < stop:
                    end = min(position + len(line) + 1, stop)
                    found.append((position, end, BROKEN))
                    position = end
        position = stop
    return found, position


def found_by_split(data: bytes) -> tuple[list[Record], int]:
    result = split(data, final=True)
    triples = zip(result.start.tolist(), result.stop.tolist(), result.fields.tolist(), strict=True)
    return list(triples), result.consumed


@given(hostile)
@example(b'"a\n,b\r\n","c"x\nd,e\n')
@example(b'a\r,b\nc"\n"')
@example(b'"a"\r\r\n')
def test_splits_exactly_where_the_grammar_says(data: bytes) -> None:
    assert found_by_split(data) == expected(data)


@given(hostile)
def test_windows_after_a_break_change_nothing(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "FIRST_WINDOW", 2)
        assert found_by_split(data) == expected(data)


@given(hostile, st.integers(min_value=0, max_value=60))
def test_a_record_found_early_is_found_the_same_way_later(data: bytes, cut: int) -> None:
    early, whole = split(data[:cut], final=False), split(data, final=True)
    count = early.stop.size
    assert early.stop.tolist() == whole.stop.tolist()[:count]
    assert early.fields.tolist() == whole.fields.tolist()[:count]
    # What is held back is one record, unless a break still waits for the end of its line.
    assert early.consumed == 0 or data[early.consumed - 1 : early.consumed] == b"\n"


@given(hostile)
def test_feeds_number_the_physical_lines(data: bytes) -> None:
    result = split(data, final=True)
    assert result.feeds.tolist() == [data.count(b"\n", 0, stop) for stop in result.stop.tolist()]


def test_many_breaks_cost_linear_time() -> None:
    lines = 20_000
    data = b'1,5" pipe,x\n' * lines
    start = time.process_time()
    assert split(data, final=True).fields.tolist() == [BROKEN] * lines
    assert time.process_time() - start < 4
