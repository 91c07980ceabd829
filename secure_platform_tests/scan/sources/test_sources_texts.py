"""Texts are searched by lines in pieces: nothing is lost between them, places are right, dense ones count."""

import io
import json
from pathlib import Path

import pytest
from inspected import EMAILS, INSPECTION, KEY, inspect_bytes

from secure_platform.errors import UsageError
from secure_platform.scan.report import SPANS, Section, Skipped, Span
from secure_platform.scan.sources import texts as texts_module
from secure_platform.scan.sources.texts import ESTIMATED, TextFindings
from secure_platform.scan.sources.work import Source, State, work


def test_a_place_is_told_by_line_and_column_in_any_encoding(tmp_path: Path) -> None:
    text = f"first\n\n  größe: {EMAILS[0]}\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        (finding,) = inspect_bytes(tmp_path, "a.log", text.encode(encoding)).findings
        assert (finding.info_type, finding.rows) == ("EMAIL", 1)
        assert finding.spans == (Span(3, 10, 3, 10 + len(EMAILS[0])),)


def test_lines_are_counted_across_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts_module, "PIECE", 100)
    scanner = INSPECTION._texts
    assert scanner is not None
    found = TextFindings(scanner, "a", KEY)
    lines = [f"mail {EMAILS[0]}" if n % 7 == 0 else "x" * (n % 90) for n in range(200)]
    found.add_stream(io.BytesIO("\n".join(lines).encode()))
    (finding,) = found.reported()
    assert [span.line for span in finding.spans] == [n + 1 for n in range(200) if n % 7 == 0]


def test_a_log_with_something_in_every_line_is_counted_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts_module, "SAMPLE", 50)
    scanner = INSPECTION._texts
    assert scanner is not None
    found = TextFindings(scanner, "a", KEY)
    found.add("\n".join(f"request of {EMAILS[0]}" for _ in range(1000)), 1)
    (finding,) = found.reported()
    assert finding.rows == 1000
    assert ESTIMATED in finding.reasons
    assert len(finding.spans) == 50 <= SPANS


def sections(state: State | None, *names: str) -> tuple[list[str], Section]:
    """Which sources were looked at, and the whole report."""
    looked: list[str] = []

    def source(name: str) -> Source:
        def look(_: object) -> Section:
            looked.append(name)
            return (
                Section(skipped=[Skipped(f"{name}!/part", "why")])
                if name != "gone"
                else Section(skipped=[Skipped(name, "why")])
            )

        return Source(name, f"identity of {name}", look)

    whole = Section()
    for section in work(map(source, names), INSPECTION, state, lambda _: None):
        whole.add(section)
    return looked, whole


def test_what_was_done_is_not_done_again_and_is_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "state"
    first = State(path, "rules")
    assert sections(first, "a", "b", "gone")[0] == ["a", "b", "gone"]
    looked, whole = sections(State(path, "rules"), "a", "b", "c", "gone")
    assert looked == ["c", "gone"]
    assert [each.source for each in whole.skipped] == ["a!/part", "b!/part", "c!/part", "gone"]
    assert State(path, "rules").key == first.key
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_state_that_a_killed_scan_left_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "state"
    sections(State(path, "rules"), "a", "b")
    path.write_bytes(path.read_bytes()[:-30])
    assert sections(State(path, "rules"), "a", "b", "c")[0] == ["b", "c"]
    assert sections(State(path, "rules"), "a", "b", "c")[0] == []


def test_a_source_that_changed_is_scanned_again(tmp_path: Path) -> None:
    state = State(tmp_path / "state", "rules")
    sections(state, "a")
    (record,) = [json.loads(line) for line in (tmp_path / "state").read_text().splitlines()[1:]]
    assert "identity of a" not in str(record)
    state = State(tmp_path / "state", "rules")
    assert state.done(Source("a", "identity of a", lambda _: Section())) is not None
    assert state.done(Source("a", "another", lambda _: Section())) is None


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", "no json", '{"schema": "x", "about": "rules", "marked_by": "00"}']
)
def test_what_is_no_state_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="is no state of this scan"):
        State(path, "rules")


def test_a_state_of_other_rules_or_another_baseline_is_refused(tmp_path: Path) -> None:
    State(tmp_path / "state", "rules", KEY)
    with pytest.raises(UsageError, match="is no state of this scan"):
        State(tmp_path / "state", "others")
    with pytest.raises(UsageError, match="another baseline"):
        State(tmp_path / "state", "rules", bytes(31) + b"1")
