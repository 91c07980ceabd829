"""What looks after the code goes on, misses no change, and does not stand by when nobody reaches the code."""

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.__generated__.dagster_api_pb2 import GetServerIdReply, PingReply, ReloadCodeReply
from dagster._grpc.__generated__.dagster_api_pb2_grpc import (
    DagsterApiServicer,
    add_DagsterApiServicer_to_server,
)
from waiting import wait_for

from secure_platform.errors import StepFailedError
from secure_platform.settings import Settings, load_settings
from secure_platform.web import code_server
from secure_platform.web.code_server import (
    CodeServer,
    Files,
    code_servers,
    files_digest,
    looked_after,
    socket_directory,
)
from secure_platform.web.signals import stopped_by_signals

SECONDS = 60
ORIGIN = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="none"), "ours")


@dataclass
class Front(DagsterApiServicer):
    """A process in front of the code that speaks Dagster's protocol.

    Args:
        holds: Whether the process that holds the code answers.
    """

    holds: bool = True
    reloads: int = 0

    def GetServerId(self, _request: Any, context: grpc.ServicerContext) -> GetServerIdReply:  # noqa: N802
        if not self.holds:
            context.abort(grpc.StatusCode.UNKNOWN, "it is gone")
        return GetServerIdReply(server_id="one")

    def Heartbeat(self, request: Any, _context: grpc.ServicerContext) -> PingReply:  # noqa: N802
        return PingReply(echo=request.echo)

    def ReloadCode(self, _request: Any, _context: grpc.ServicerContext) -> ReloadCodeReply:  # noqa: N802
        self.reloads += 1
        self.holds = True
        return ReloadCodeReply()


@contextmanager
def listening(front: Front, socket: Path) -> Iterator[grpc.Server]:
    server = grpc.server(ThreadPoolExecutor(2))
    add_DagsterApiServicer_to_server(front, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        yield server
    finally:
        server.stop(0).wait()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_server, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(code_server, "FILES_SECONDS", 0.02)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "defs").mkdir()
    return load_settings(home=tmp_path / "home", project=tmp_path)


def test_a_killed_server_that_ends_late_takes_no_socket_of_the_next_one(tmp_path: Path) -> None:
    with socket_directory(tmp_path) as directory:
        (before,) = code_servers([ORIGIN], directory)
        with listening(Front(), before.socket) as late, socket_directory(tmp_path):
            (after,) = code_servers([ORIGIN], directory)
            with listening(Front(), after.socket):
                assert after.client.heartbeat("it") == "it"
                late.stop(0).wait()
                del late
                time.sleep(0.5)  # It removes its socket when it has ended.
                assert after.socket.is_socket()
                assert after.client.heartbeat("it") == "it"


def test_nobody_stays_with_a_server_that_cannot_be_reached_any_more(
    tmp_path: Path, settings: Settings
) -> None:
    def serve() -> None:
        with (
            listening(Front(), server.socket),
            stopped_by_signals(),
            looked_after([server], Files(settings)),
        ):
            server.client.heartbeat("")
            server.socket.unlink()
            time.sleep(SECONDS)

    server = CodeServer(ORIGIN, tmp_path / "lost.sock")
    with pytest.raises(StepFailedError, match="Nobody reaches the code server of ours any more"):
        serve()


def test_code_that_died_behind_a_process_that_answers_is_loaded_again(
    tmp_path: Path, settings: Settings
) -> None:
    front, server = Front(), CodeServer(ORIGIN, tmp_path / "it.sock")
    with listening(front, server.socket), stopped_by_signals(), looked_after([server], Files(settings)):
        front.holds = False
        assert wait_for(lambda: front.reloads, SECONDS) == 1
        server.look()


def test_what_is_edited_before_anybody_looks_is_a_change_and_told_once(
    tmp_path: Path, settings: Settings
) -> None:
    front, server = Front(), CodeServer(ORIGIN, tmp_path / "it.sock")
    files = Files(settings)
    (settings.defs / "late.yaml").write_text("")
    with listening(front, server.socket), stopped_by_signals(), looked_after([server], files):
        assert wait_for(lambda: front.reloads, SECONDS)
        (settings.defs / "later.yaml").write_text("")
        assert wait_for(lambda: front.reloads == 2, SECONDS)
    assert front.reloads == 2


def test_a_look_that_fails_is_told_and_the_next_one_follows(
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    front, server = Front(), CodeServer(ORIGIN, tmp_path / "it.sock")
    files, scandir = Files(settings), os.scandir
    failed: list[Any] = []

    def fail_once(path: Any) -> Any:
        if os.fspath(path) == os.fspath(settings.defs) and not failed:
            failed.append(path)
            raise MemoryError("what it read")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail_once)
    with (
        caplog.at_level(logging.ERROR),
        listening(front, server.socket),
        stopped_by_signals(),
        looked_after([server], files),
    ):
        assert wait_for(lambda: failed, SECONDS)
        (settings.defs / "late.yaml").write_text("")
        assert wait_for(lambda: front.reloads, SECONDS)
    assert "could not be looked after: MemoryError" in caplog.text
    assert "what it read" not in caplog.text


def test_folders_that_vanish_are_passed_over_and_those_of_dbt_not_entered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("target/run", "models/target", "models/gone"):
        (settings.dbt_project / folder).mkdir(parents=True)
    before, scandir, entered = files_digest(settings), os.scandir, []

    def vanish(path: Any) -> Any:
        if Path(path).name == "gone":
            Path(path).rmdir()
        entered.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanish)
    assert files_digest(settings) == before
    assert "gone" in entered
    assert "run" not in entered
    (settings.dbt_project / "models" / "target" / "one.sql").write_text("select 1")
    assert files_digest(settings) != before, "dbt writes at the top only"
