"""The code is loaded once: web server and daemon ask the same code server, so both see the same definitions.

It listens on a socket in a directory that only the home's owner may enter; there the code and its runs have
their temporary files, too. It is loaded again when somebody reloads it in the UI, when a contract has changed
on disk, and when the process that holds it has died. Runs that go on keep the process that started them. If
not even the process in front of it answers, the server ends.
"""

import hashlib
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_origin import (
    CodeLocationOrigin,
    GrpcServerCodeLocationOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
)
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.constants import GrpcServerCommand

from secure_platform.errors import StepFailedError
from secure_platform.files import private_directory, write_private
from secure_platform.orchestration.dbt_rules import files_below
from secure_platform.settings import CONFIG_NAME, Settings
from secure_platform.web.companion import companion
from secure_platform.web.workspace import workspace_file

_logger = logging.getLogger(__name__)

DIRECTORY: Final = "run"
LONGEST_PATH: Final = 70
"""The kernel takes 107 bytes for a socket's path; what runs there may need some for folders of its own."""
DAGSTER: Final = (
    "import runpy, secure_platform; runpy.run_module('dagster', run_name='__main__', alter_sys=True)"
)
"""Dagster's command, in a process whose memory and environment are closed (`secure_platform/__init__.py`)."""
LOG_LEVEL: Final = "warning"
READY_POLL_SECONDS: Final = 0.1
LOOK_SECONDS: Final = 5.0
FILES_SECONDS: Final = 60.0
"""How long a changed contract waits when nobody reloads."""
SUFFIXES: Final = frozenset({".yaml", ".yml", ".sql", ".csv", ".md"})
LOAD_SECONDS: Final = 600
"""How long loading may take: it is the adopter's code."""
ANSWER_SECONDS: Final = 30
PATIENCE: Final = 2
"""Without an answer so often it is dead: one that is busy answers late."""
AGAIN_SECONDS: Final = 60.0
"""How long code that died is left alone after it has been loaded again."""


@dataclass
class CodeServer:
    """A code server of ours.

    Args:
        origin: The code location.
        socket: Where it listens.
    """

    origin: ManagedGrpcPythonEnvCodeLocationOrigin
    socket: Path

    def __post_init__(self) -> None:
        self.client = DagsterGrpcClient(socket=str(self.socket))
        self._missed = self._unheard = 0
        self._loaded = -AGAIN_SECONDS

    @property
    def command(self) -> Sequence[str]:
        """What starts it: Dagster's server that can load the code again, in a process of its own."""
        target = self.origin.loadable_target_origin
        return (
            target.executable_path or sys.executable,
            *("-c", DAGSTER, *GrpcServerCommand.CODE_SERVER_START.server_command),
            *("--socket", str(self.socket), "--location-name", self.origin.location_name),
            *("--log-level", LOG_LEVEL, "--inject-env-vars-from-instance"),
            *("--startup-timeout", str(LOAD_SECONDS)),
            *(("--use-python-environment-entry-point",) if target.executable_path else ()),
            *target.get_cli_args(),
        )

    @property
    def entry(self) -> Mapping[str, Any]:
        """How a workspace file names it."""
        return {
            "location_name": self.origin.location_name,
            "socket": str(self.socket),
            "additional_metadata": self.origin.loadable_target_origin.as_dict,
        }

    def await_code(self) -> None:
        """Wait until the code was loaded, or could not be: then its error is what the server tells."""
        while True:
            try:
                self.client.heartbeat("")
            except DagsterUserCodeUnreachableError:
                time.sleep(READY_POLL_SECONDS)
            else:
                return

    def look(self) -> None:
        """Load the code again if the process that holds it has died.

        Raises:
            StepFailedError: If not even the process in front of it was reached, time after time.
        """
        if _reached(lambda: self.client.get_server_id(timeout=ANSWER_SECONDS)):
            self._missed = self._unheard = 0
            return
        self._missed += 1
        self._unheard = 0 if _reached(self.client.heartbeat) else self._unheard + 1
        if self._unheard >= PATIENCE:
            raise StepFailedError(
                f"Nobody reaches the code server of {self.origin.location_name} any more",
                "Look whether its socket was removed or its process hangs, then start again.",
            )
        if self._missed >= PATIENCE and time.monotonic() - self._loaded >= AGAIN_SECONDS:
            _logger.warning("The code of %s does not answer: it is loaded again.", self.origin.location_name)
            self.load()

    def load(self) -> None:
        """Load the code again; web server and daemon see that within seconds."""
        self._missed, self._loaded = 0, time.monotonic()
        # It says so too when what held the code before was gone already.
        with suppress(DagsterUserCodeUnreachableError):
            self.client.reload_code(LOAD_SECONDS)


@contextmanager
def running_code_servers(settings: Settings) -> Iterator[Path]:
    """Serve the project's code locations while the block runs.

    Should a server end by itself, the block is interrupted by SIGTERM.

    Args:
        settings: Names the project; the environment must name the home.

    Yields:
        A workspace file for web server and daemon, which names the sockets. Servers that the project's own
        file names are in it as they are.

    Raises:
        StepFailedError: If a server ended by itself, or nobody reaches it any more.
    """
    files = Files(settings)  # What is edited while the code is being loaded is a change.
    origins = WorkspaceFileTarget([str(workspace_file(settings))]).create_origins()
    with ExitStack() as stack:
        directory = stack.enter_context(socket_directory(settings.home))
        servers = code_servers(origins, directory)
        for server in servers:
            stack.enter_context(
                companion("A code server", server.command, variables={"TMPDIR": str(directory)})
            )
        for server in servers:
            server.await_code()
        stack.enter_context(looked_after(servers, files))
        foreign = [_entry(origin) for origin in origins if isinstance(origin, GrpcServerCodeLocationOrigin)]
        entries = [{"grpc_server": entry} for entry in (*(server.entry for server in servers), *foreign)]
        workspace = directory / "workspace.yaml"
        write_private(workspace, yaml.safe_dump({"load_from": entries}).encode())
        yield workspace


def code_servers(origins: Sequence[CodeLocationOrigin], directory: Path) -> list[CodeServer]:
    """A server, not yet started, for each code location of ours.

    Each start has socket names of its own: a code server of a killed `serve` ends when its runs have, and
    removes then what has the name of its socket.
    """
    return [
        CodeServer(origin, directory / f"{number}-{secrets.token_hex(4)}.sock")
        for number, origin in enumerate(origins)
        if isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin)
    ]


@contextmanager
def socket_directory(home: Path) -> Iterator[Path]:
    """A directory that only the home's owner may enter: in the home, or elsewhere if its path is too long."""
    path = home / DIRECTORY
    shutil.rmtree(path, ignore_errors=True)  # A killed server's.
    if len(os.fsencode(path)) > LONGEST_PATH:
        path = Path(tempfile.mkdtemp(prefix="secure-platform-"))
    try:
        yield private_directory(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def files_digest(settings: Settings) -> str:
    """Changes when a file changes that definitions are made of: products, contracts, dbt project, settings.

    Told from size, time and number of the files, so that it costs little; Python files are not among them.
    """
    names = [settings.project / CONFIG_NAME]
    for top in (settings.defs, settings.dbt_project):
        names += (path for _, path in files_below(top) if path.suffix in SUFFIXES)
    digest = hashlib.sha256()
    for name in sorted(names):
        with suppress(OSError):  # It has gone meanwhile.
            status = name.stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}\n".encode())
    return digest.hexdigest()


class Files:
    """What definitions are made of, as it was when it was last looked at."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen = files_digest(settings)

    def changed(self) -> bool:
        """Whether it has changed since."""
        before, self._seen = self._seen, files_digest(self._settings)
        return before != self._seen


def _entry(origin: GrpcServerCodeLocationOrigin) -> Mapping[str, Any]:
    entry = {
        "location_name": origin.location_name,
        "host": origin.host,
        "port": origin.port,
        "socket": origin.socket,
        "ssl": origin.use_ssl,
        "additional_metadata": origin.additional_metadata,
    }
    return {name: value for name, value in entry.items() if value is not None}


@contextmanager
def looked_after(servers: Sequence[CodeServer], files: Files) -> Iterator[None]:
    """Load the code again whenever it must be while the block runs.

    Should nobody reach a server any more, the block is interrupted by SIGTERM.

    Raises:
        StepFailedError: If nobody did.
    """
    stopping = threading.Event()
    lost: list[StepFailedError] = []
    thread = threading.Thread(target=_look_after, args=(servers, files, stopping, lost), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        if lost:
            raise lost[0]


def _look_after(
    servers: Sequence[CodeServer], files: Files, stopping: threading.Event, lost: list[StepFailedError]
) -> None:
    due = time.monotonic() + FILES_SECONDS
    while not stopping.wait(LOOK_SECONDS):
        try:
            for server in servers:
                server.look()
            if time.monotonic() >= due:
                due = time.monotonic() + FILES_SECONDS
                _load_changed(servers, files)
        except StepFailedError as error:
            if not stopping.is_set():
                lost.append(error)
                os.kill(os.getpid(), signal.SIGTERM)
            return
        except Exception as error:  # noqa: BLE001 - the next round may succeed
            _logger.error("The code could not be looked after: %s", type(error).__name__)  # noqa: TRY400


def _load_changed(servers: Sequence[CodeServer], files: Files) -> None:
    if files.changed():
        for server in servers:
            server.load()


def _reached(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except DagsterUserCodeUnreachableError:
        return False
    return True
