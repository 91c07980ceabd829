"""No Python process of the suite looks a name up or connects beyond this machine.

An audit hook sees every attempt of Python code, whatever library makes it. Children get the same hook: Python
starts `sitecustomize` from the folder that this module hands on in their environment, also where the code
that starts them gives an environment of its own. What is refused is appended to a file, so that an error that
somebody swallowed is known all the same. Native code is not seen here: see the tests in `leaks/`.
"""

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

REPORT: Final = "NETWORK_GUARD_REPORT"
FOLDER: Final = str(Path(__file__).parent)
# Event of the interpreter → position of the host or address in its arguments.
WATCHED: Final = {
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
    "socket.getnameinfo": 0,
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
}
ON_SOCKETS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
# Connecting to the unspecified address is connecting to this machine.
NEAR: Final = frozenset({None, "", "localhost", "::1", "0.0.0.0", "::"})  # noqa: S104
SHOWN: Final = 300
_reports: list[Path] = []


class NetworkRefusedError(OSError):
    """What a program on a machine without network would get, too."""


def install(report: Path) -> None:
    """Refuse from now on, in this process and its children, and report to this file."""
    _reports.append(report)
    os.environ.update(handed_on(os.environ))
    if len(_reports) > 1:
        return
    start = subprocess.Popen.__init__

    def start_guarded(process: Any, *arguments: Any, **options: Any) -> None:
        if options.get("env") is not None:
            options["env"] = handed_on(options["env"])
        start(process, *arguments, **options)

    subprocess.Popen.__init__ = start_guarded  # type: ignore[method-assign,assignment]
    sys.addaudithook(_judge)


def handed_on(environment: Mapping[Any, Any]) -> dict[Any, Any]:
    """The environment with what guards a Python that is started in it."""
    others = [path for path in str(environment.get("PYTHONPATH", "")).split(os.pathsep) if path]
    path = os.pathsep.join([FOLDER, *(other for other in others if other != FOLDER)])
    return {**environment, "PYTHONPATH": path, REPORT: str(_reports[-1])}


def is_near(host: Any) -> bool:
    """Whether a host is this machine, without a look-up."""
    name = host.decode(errors="replace") if isinstance(host, bytes) else host
    return name in NEAR or name.startswith("127.")


def _judge(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in WATCHED:
        return
    target = arguments[WATCHED[event]]
    if event in ON_SOCKETS and arguments[0].family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = target[0] if isinstance(target, tuple) else target
    if is_near(host):
        return
    attempt = {"program": " ".join(sys.orig_argv)[:SHOWN], "event": event, "host": repr(host)}
    with _reports[-1].open("a", encoding="utf-8") as file:
        file.write(json.dumps(attempt) + "\n")
    raise NetworkRefusedError(errno.ENETUNREACH, f"{event} of {host!r} is refused while tests run")
