"""A notice arrives at least once, is given up in the end, and never stops what it tells about."""

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from loopback_servers import Inbox, http_server
from notify_support import SECRETS, channel
from waiting import wait_for

from secure_platform.errors import UsageError
from secure_platform.homes import initialise
from secure_platform.notify import courier
from secure_platform.notify.outbox import ATTEMPTS, LONGEST_PAUSE, Notices
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.site import ChannelSettings

DIGEST = "sha256:" + "b" * 64
Open = Callable[[Sequence[ChannelSettings]], Notices]


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("fresh") / "home"
    initialise(load_settings(home=home))
    return home


@pytest.fixture
def home(fresh: Path, tmp_path: Path) -> Services:
    return Services(load_settings(home=Path(shutil.copytree(fresh, tmp_path / "home"))))


@pytest.fixture
def outbox(home: Services, clock: Clock) -> Open:

    def open_notices(channels: Sequence[ChannelSettings]) -> Notices:
        return Notices(
            home.database,
            home.audit,
            channels,
            secrets=SECRETS,
            environment="production",
            url="https://data.example.org/p/",
            clock=clock,
        )

    return open_notices


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with http_server() as started:
        yield started


def _tell(notices: Notices, number: int = 1) -> None:
    notices.announce(
        "release.pending", product="healthcare", release=DIGEST[:-1] + str(number), number=number
    )


def test_a_notice_is_delivered_once_and_links_to_its_page(outbox: Open, inbox: Inbox, tmp_path: Path) -> None:
    notices = outbox([channel(tmp_path, "slack", inbox.url)])
    _tell(notices)
    _tell(notices)
    (sent,) = notices.deliver()
    assert (sent.state, sent.attempts, sent.problem) == ("delivered", 1, None)
    assert sent.notice.link == f"https://data.example.org/p/approvals/{DIGEST[:-1]}1"
    assert notices.deliver() == []
    assert len(inbox.received) == 1


def test_what_failed_is_sent_again_later_and_given_up_in_the_end(
    outbox: Open, tmp_path: Path, clock: Clock
) -> None:
    with http_server(503) as broken:
        notices = outbox([channel(tmp_path, "slack", broken.url)])
        _tell(notices)
        pauses = []
        for attempt in range(1, ATTEMPTS + 1):
            (sent,) = notices.deliver()
            assert (sent.attempts, sent.problem) == (attempt, "127.0.0.1 answered 503")
            assert notices.deliver() == []
            pauses.append(sent.due_at - clock.now)
            clock.now = sent.due_at
    assert pauses[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert max(pauses) == LONGEST_PAUSE
    assert sent.state == "given up"
    clock.now += timedelta(days=365)
    assert notices.deliver() == []


def test_a_channel_that_recovers_gets_what_waited_oldest_first(
    outbox: Open, inbox: Inbox, tmp_path: Path, clock: Clock
) -> None:
    with http_server(500) as broken:
        failing = outbox([channel(tmp_path, "slack", broken.url)])
        for number in (1, 2, 3):
            _tell(failing, number)
            clock.now += timedelta(seconds=1)
        assert len(failing.deliver()) == 1
    clock.now += timedelta(minutes=1)
    notices = outbox([channel(tmp_path, "slack", inbox.url)])
    assert [sent.notice.number for sent in notices.deliver()] == [1, 2, 3]


def test_one_channel_that_fails_does_not_hold_back_another(
    outbox: Open, inbox: Inbox, tmp_path: Path
) -> None:
    with http_server(500) as broken:
        good = channel(tmp_path, "slack", inbox.url, name="good")
        notices = outbox([channel(tmp_path, "slack", broken.url, name="bad"), good])
        _tell(notices)
        states = {sent.channel: sent.state for sent in notices.deliver()}
    assert states == {"bad": "waiting", "good": "delivered"}


def test_two_senders_at_once_do_not_send_one_notice_twice(outbox: Open, inbox: Inbox, tmp_path: Path) -> None:
    channels = [channel(tmp_path, "slack", inbox.url)]
    first, second = outbox(channels), outbox(channels)
    for number in range(1, 9):
        _tell(first, number)
    threads = [threading.Thread(target=notices.deliver) for notices in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inbox.received) == 8


def test_a_sender_that_died_after_taking_a_notice_leaves_it_to_be_sent(
    outbox: Open, inbox: Inbox, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices = outbox([channel(tmp_path, "slack", inbox.url)])
    _tell(notices)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("secure_platform.notify.outbox.send", die)
        with pytest.raises(Killed):
            notices.deliver()
    assert notices.deliver() == []
    clock.now += timedelta(minutes=1)
    assert [sent.state for sent in notices.deliver()] == ["delivered"]


def test_channels_are_told_of_their_products_and_events_only(
    outbox: Open, inbox: Inbox, tmp_path: Path
) -> None:
    notices = outbox(
        [
            channel(tmp_path, "slack", inbox.url, name="other", products=("finance",)),
            channel(tmp_path, "slack", inbox.url, name="failures", events=("deploy.failed",)),
            channel(tmp_path, "slack", inbox.url, name="health", products=("healthcare",)),
        ]
    )
    _tell(notices)
    notices.announce("freeze.set")
    assert {(row.channel, row.notice.event) for row in notices.list()} == {
        ("health", "release.pending"),
        ("health", "freeze.set"),
        ("other", "freeze.set"),
    }


def test_an_occasion_tells_the_same_event_again(outbox: Open, inbox: Inbox, tmp_path: Path) -> None:
    notices = outbox([channel(tmp_path, "slack", inbox.url)])
    for occasion in ("one", "two", "two"):
        notices.announce("break_glass.opened", product="healthcare", occasion=occasion)
    assert len(notices.list()) == 2


def test_a_database_that_fails_stops_nothing(
    outbox: Open, inbox: Inbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notices = outbox([channel(tmp_path, "slack", inbox.url)])
    with sqlite3.connect(tmp_path / "home" / "control.db") as connection:
        connection.execute("DROP TABLE notice")
    _tell(notices)
    assert "could not be queued: OperationalError" in caplog.text


def test_a_channel_that_was_taken_out_of_the_settings_is_given_up(
    outbox: Open, inbox: Inbox, tmp_path: Path
) -> None:
    _tell(outbox([channel(tmp_path, "slack", inbox.url)]))
    (sent,) = outbox([]).deliver()
    assert (sent.state, sent.problem) == ("waiting", "The settings have no such channel any more")
    assert inbox.received == []


def test_a_made_up_notice_tries_a_channel(outbox: Open, inbox: Inbox, tmp_path: Path) -> None:
    notices = outbox([channel(tmp_path, "slack", inbox.url)])
    notices.test("slack")
    assert "a test" in json.loads(inbox.bodies[0])["text"].lower()
    with pytest.raises(UsageError, match="no channel"):
        notices.test("nobody")


def test_a_server_sends_what_is_queued_while_it_runs(
    outbox: Open, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "PAUSE_SECONDS", 0.01)
    notices = outbox([channel(tmp_path, "slack", inbox.url)])
    with courier.delivering(notices):
        _tell(notices)
        assert wait_for(lambda: inbox.received, 20)
    _tell(notices, 2)
    time.sleep(0.05)
    assert len(inbox.received) == 1


def test_a_slow_receiver_of_events_holds_no_notice_and_no_other_feed_up(
    outbox: Open, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "PAUSE_SECONDS", 0.01)
    notices = outbox([channel(tmp_path, "slack", inbox.url)])
    answered, asked, flushed = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        answered.wait(60)

    try:
        with courier.delivering(notices, feeds=[slow, flushed.set]):
            assert asked.wait(20)
            _tell(notices)
            assert wait_for(lambda: inbox.received, 20)
            assert flushed.wait(20)
            answered.set()
    finally:
        answered.set()


def test_who_was_told_is_audited(home: Services, outbox: Open, inbox: Inbox, tmp_path: Path) -> None:
    notices = outbox([channel(tmp_path, "slack", inbox.url)])
    _tell(notices)
    (sent,) = notices.deliver()
    (entry,) = [entry for entry in home.audit.entries() if entry.body["action"] == "notice.deliver"]
    assert entry.body["detail"] == {
        "channel": "slack",
        "event": "release.pending",
        "notice": sent.notice.notice_id,
    }
