"""Forks a dbt for everyone who asks; ends when its standard input does."""

import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from functools import cache
from importlib import import_module
from typing import NoReturn

LOADED = ("dbt.cli.main", "dbt.adapters.duckdb", "dbt.task.build")


def serve(path: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
            link, _ = listener.accept()
            _load()
            if os.fork() == 0:
                listener.close()
                _answer(link)
            link.close()


@cache
def _load() -> None:
    """Once, for the first who asks."""
    gc.disable()
    for name in LOADED:
        import_module(name)
    # What a child's collector looks at is copied for it: it shall be the child's own.
    gc.freeze()
    gc.enable()


def _answer(link: socket.socket) -> NoReturn:
    status = 1
    try:
        status = _run(link)
    except BaseException:  # noqa: BLE001 - a child never goes on with the server's work
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    link.sendall(bytes([status]))
    os._exit(status)


def _run(link: socket.socket) -> int:
    document, streams, _, _ = socket.recv_fds(link, 1 << 20, 3)
    # Who asked waits for the end of this process, as it would for dbt's: until then it has its files locked.
    link.sendall(str(os.getpid()).encode())
    request = json.loads(document)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["command"]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _die_with(link)
    try:
        import_module("dbt.cli.main").cli()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return 0


def _die_with(link: socket.socket) -> None:
    """Who asked may be killed, and expects its dbt to be killed with it."""
    fcntl.fcntl(link, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(link, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(link, fcntl.F_SETFL, os.O_ASYNC)


if __name__ == "__main__":
    serve(sys.argv[1])
