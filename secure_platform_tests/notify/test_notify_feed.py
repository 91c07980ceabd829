"""Events arrive in order and at least once, wherever a receiver or a process stops."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from loopback_servers import Inbox, http_server
from notify_support import SECRETS

from secure_platform.errors import StorageError
from secure_platform.notify import feed as feed_module
from secure_platform.notify.feed import AT_ONCE, LONGEST_PAUSE, REJECTIONS, Feed
from secure_platform.site import LineageSettings

CONCURRENT = """
import sys
from pathlib import Path
from secure_platform.notify.feed import Feed
from secure_platform.site import LineageSettings
feed = Feed(Path(sys.argv[1]), LineageSettings(), lambda: None)
for number in range(50):
    feed.append([{"from": sys.argv[2], "number": number, "more": "x" * 5000}])
"""

FULL = """
import resource, sys
from pathlib import Path
from secure_platform.errors import StorageError
from secure_platform.notify.feed import Feed
from secure_platform.site import LineageSettings
feed = Feed(Path(sys.argv[1]), LineageSettings(), lambda: None)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    feed.append([{"number": 2, "more": "x" * 5000}])
except StorageError:
    print("refused")
"""


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with http_server() as started:
        yield started


def settings(url: str | None, **given: Any) -> LineageSettings:
    return LineageSettings.model_validate({"url": url, "allow": ("127.0.0.0/8",), **given})


def opened(folder: Path, clock: Clock, url: str | None, **given: Any) -> Feed:
    return Feed(folder / "lineage" / "events.ndjson", settings(url, **given), lambda: SECRETS, clock=clock)


def numbers(inbox: Inbox) -> list[int]:
    return [json.loads(body)["number"] for body in inbox.bodies]


def event(number: int) -> Mapping[str, Any]:
    return {"number": number}


def test_what_was_written_arrives_once_and_in_order(tmp_path: Path, clock: Clock, inbox: Inbox) -> None:
    feed = opened(tmp_path, clock, inbox.url)
    feed.append([event(1), event(2)])
    feed.append([event(3)])
    assert feed.waiting() > 0
    assert feed.deliver() == 3
    assert (feed.deliver(), feed.waiting()) == (0, 0)
    feed.append([event(4)])
    assert opened(tmp_path, clock, inbox.url).deliver() == 1
    assert numbers(inbox) == [1, 2, 3, 4]
    assert {headers["content-type"] for _, headers, _ in inbox.received} == {"application/json"}
    assert not any("authorization" in headers for _, headers, _ in inbox.received)


def test_a_receiver_that_is_away_loses_nothing_and_holds_nobody_up(tmp_path: Path, clock: Clock) -> None:
    with http_server(status=503) as away:
        feed = opened(tmp_path, clock, away.url)
        feed.append([event(number) for number in range(5)])
        for _ in range(40):
            feed.deliver()
            clock.now += LONGEST_PAUSE
        assert set(numbers(away)) == {0}
    with http_server() as back:
        feed = opened(tmp_path, clock, back.url)
        assert feed.deliver() == 5
        assert numbers(back) == list(range(5))


def test_it_is_left_alone_for_longer_and_longer(tmp_path: Path, clock: Clock) -> None:
    with http_server(status=500) as broken:
        feed = opened(tmp_path, clock, broken.url)
        feed.append([event(1)])
        for _ in range(60 * 60):
            feed.deliver()
            clock.now += timedelta(seconds=1)
        assert 5 <= len(broken.received) <= 9


def test_what_it_rejects_is_left_out_and_the_next_one_arrives(tmp_path: Path, clock: Clock) -> None:
    with http_server(status=422) as strict:
        feed = opened(tmp_path, clock, strict.url)
        feed.append([event(1)])
        for _ in range(REJECTIONS + 2):
            feed.deliver()
            clock.now += LONGEST_PAUSE
        assert numbers(strict) == [1] * REJECTIONS
    feed.append([event(2)])
    with http_server() as inbox:
        assert opened(tmp_path, clock, inbox.url).deliver() == 1
        assert numbers(inbox) == [2]


def test_a_sender_that_dies_before_it_remembers_sends_again(
    tmp_path: Path, clock: Clock, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = opened(tmp_path, clock, inbox.url)
    feed.append([event(1), event(2)])

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(feed_module, "replace_private", die)
        with pytest.raises(KeyboardInterrupt):
            feed.deliver()
    assert opened(tmp_path, clock, inbox.url).deliver() == 2
    assert numbers(inbox) == [1, 1, 2]


def test_half_a_line_of_a_writer_that_died_is_passed_over(tmp_path: Path, clock: Clock, inbox: Inbox) -> None:
    feed = opened(tmp_path, clock, inbox.url)
    feed.append([event(1)])
    path = tmp_path / "lineage" / "events.ndjson"
    with path.open("ab") as file:
        file.write(b'{"number": 2, "tor')
    assert feed.deliver() == 1
    feed.append([event(3)])
    feed.deliver()
    assert numbers(inbox) == [1, 3]


@settings_of_hypothesis(max_examples=25)
@given(
    st.binary(max_size=200)
    | st.fixed_dictionaries({"offset": st.integers() | st.text()}).map(lambda d: json.dumps(d).encode())
)
def test_whatever_stands_in_the_memory_of_a_sender_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes
) -> None:
    folder, clock = tmp_path_factory.mktemp("feed"), Clock()
    with http_server() as inbox:
        feed = opened(folder, clock, inbox.url)
        feed.append([event(1)])
        (folder / "lineage" / ".events.ndjson.taken").write_bytes(garbage)
        assert feed.deliver() == 1


def test_a_full_file_makes_room_only_for_what_was_taken(
    tmp_path: Path, clock: Clock, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LARGEST", 100)
    feed = opened(tmp_path, clock, inbox.url)
    for number in range(7):
        feed.append([event(number)])
    with pytest.raises(StorageError, match="does not take"):
        feed.append([event(99)])
    assert feed.deliver() == 7
    feed.append([event(7)])
    assert feed.deliver() == 1
    assert numbers(inbox) == list(range(8))
    alone = opened(tmp_path / "alone", clock, None)
    for number in range(20):
        alone.append([event(number)])
    assert (tmp_path / "alone" / "lineage" / "events.ndjson.1").exists()
    assert alone.deliver() == 0


def test_one_round_sends_so_many_and_no_more(tmp_path: Path, clock: Clock, inbox: Inbox) -> None:
    feed = opened(tmp_path, clock, inbox.url)
    feed.append([event(number) for number in range(AT_ONCE + 3)])
    assert [feed.deliver(), feed.deliver()] == [AT_ONCE, 3]


def test_the_token_is_sent_and_never_written_down(tmp_path: Path, clock: Clock, inbox: Inbox) -> None:
    secret = tmp_path / "token"
    secret.write_text("t0p-s3cret\n")
    secret.chmod(0o600)
    feed = opened(tmp_path, clock, inbox.url, secret=f"secret://file/{secret}")
    feed.append([event(1)])
    feed.deliver()
    assert inbox.received[0][1]["authorization"] == "Bearer t0p-s3cret"
    written = b"".join(each.read_bytes() for each in (tmp_path / "lineage").iterdir())
    assert b"t0p-s3cret" not in written


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "https://127.0.0.1:1/", "http://127.0.0.1:1/", "ftp://x/"]
)
def test_it_reaches_nothing_that_a_channel_may_not(tmp_path: Path, clock: Clock, url: str) -> None:
    feed = opened(tmp_path, clock, url, allow=())
    feed.append([event(1)])
    assert feed.deliver() == 0
    remembered = json.loads((tmp_path / "lineage" / ".events.ndjson.taken").read_bytes())
    assert remembered["attempts"] == 1
    assert feed.waiting() > 0


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "lineage").mkdir()
    (tmp_path / "lineage" / "events.ndjson").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="ndjson"):
        opened(tmp_path, clock, None).append([event(1)])
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "more", [{}, {"more": "x" * 20}, {"more": "x" * 200}], ids=["as long", "longer", "long"]
)
@pytest.mark.parametrize("before", [1, 3])
def test_another_file_with_the_same_inode_is_sent_from_its_beginning(
    tmp_path: Path, clock: Clock, inbox: Inbox, more: Mapping[str, str], before: int
) -> None:
    feed = opened(tmp_path, clock, inbox.url)
    feed.append([event(1)] * before)
    assert feed.deliver() == before
    path = tmp_path / "lineage" / "events.ndjson"
    inode = path.stat().st_ino
    os.truncate(path, 0)
    feed.append([{"number": 2, **more}])
    assert path.stat().st_ino == inode
    assert feed.waiting() == path.stat().st_size
    assert opened(tmp_path, clock, inbox.url).deliver() == 1
    assert numbers(inbox)[before:] == [2]


def test_a_full_disk_is_told_as_such_and_leaves_no_half_of_what_was_written(
    tmp_path: Path, clock: Clock, inbox: Inbox
) -> None:
    feed = opened(tmp_path, clock, inbox.url)
    feed.append([event(1)])
    path = tmp_path / "lineage" / "events.ndjson"
    before = path.read_bytes()
    finished = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(len(before) + 8)], capture_output=True, check=False
    )
    assert (finished.returncode, finished.stdout) == (0, b"refused\n"), finished.stderr
    assert path.read_bytes() == before
    feed.append([event(3)])
    assert feed.deliver() == 2
    assert numbers(inbox) == [1, 3]


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "lineage" / "events.ndjson"
    command = [sys.executable, "-c", CONCURRENT, str(path)]
    writers = [subprocess.Popen([*command, name], env=dict(os.environ)) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    for name in "ab":
        assert [each["number"] for each in events if each["from"] == name] == list(range(50))
