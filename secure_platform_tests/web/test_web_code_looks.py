"""What looks after the code does not stand by when nobody reaches it, and takes nothing from others."""

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
