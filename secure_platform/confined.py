"""What hostile input could crash or swell runs in a process of its own, under hard limits.

The work is a module that calls `serve` when it is run. It gets its request, keys included, through a pipe,
and of our environment only what a program needs to start. The kernel bounds its memory and processor time,
and it leaves no core file. Its tables come back as frames of Arrow IPC, each at most `FRAME_LIMIT`, and its
refusals as one of our errors. A first frame says that it was started, only a last one that it is finished:
whatever ends it in between (the kernel, a crash in native code, a foreign exception, whose text is never
carried over) is one and the same error, chosen by the caller.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Event, Timer
from typing import IO, Any, Final

import pyarrow as pa

from secure_platform import errors
from secure_platform.children import inherited_environment, running
from secure_platform.errors import SecurePlatformError

FRAME_LIMIT: Final = 256 << 20
_STARTED, _TABLE, _REFUSED, _FINISHED = b"S", b"T", b"R", b"F"
_LENGTH: Final = 8
# Arrow's own pools reserve address space by the gigabyte; the system's allocator counts what is used.
_LEAN: Final = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True)
class Limits:
    """What the work may use.

    Attributes:
        memory: Bytes of address space.
        seconds: Time after which it is ended.
        too_long: Raised when that time is over.
        failed: Raised when it began and ended before it was finished: memory ran out, or native code broke.
    """

    memory: int
    seconds: float
    too_long: SecurePlatformError
    failed: SecurePlatformError


def tables(
    module: str, request: Mapping[str, Any], limits: Limits, *, descriptor: int | None = None
) -> Iterator[pa.Table]:
    """Run a module's work and give its tables as they come; leaving early ends it.

    Args:
        module: Full name of the module that serves.
        request: JSON that its work gets.
        limits: What it may use.
        descriptor: An open file that it inherits under the same number.

    Raises:
        SecurePlatformError: What the work raised, the errors in `limits`, or that it could not be started.
    """
    order = {"memory": limits.memory, "cpu": int(limits.seconds) + 1, "request": dict(request)}
    started = False
    with running(
        [sys.executable, "-P", "-m", module],
        env={**inherited_environment(), **_LEAN},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=() if descriptor is None else (descriptor,),
    ) as process:
        late = Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = Timer(limits.seconds, end)
        timer.start()
        try:
            answer = _begin(process, json.dumps(order).encode())
            started = True
            yield from _receive(answer)
        except EOFError:
            ended = limits.failed if started else _not_started(module)
            raise (limits.too_long if late.is_set() else ended) from None
        finally:
            timer.cancel()


def serve(work: Callable[[Mapping[str, Any]], Iterable[pa.Table]]) -> None:
    """Do the work that standard input asks for, and end this process."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    order = json.loads(sys.stdin.buffer.read())
    _send(answer, _STARTED, b"")
    for what, limit in (
        (resource.RLIMIT_AS, order["memory"]),
        (resource.RLIMIT_CPU, order["cpu"]),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (allowed, allowed))
    status = 1
    try:
        for table in work(order["request"]):
            _send(answer, _TABLE, _packed(table))
        _send(answer, _FINISHED, b"")
        status = 0
    except SecurePlatformError as error:
        told = {"error": type(error).__name__, "culprit": error.culprit, "fix": error.fix}
        _send(answer, _REFUSED, json.dumps(told).encode())
    finally:
        # Neither a foreign exception's text nor the clean-up of a library that broke leaves this process.
        os._exit(status)


def _packed(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _send(answer: IO[bytes], kind: bytes, content: Any) -> None:
    answer.write(kind + len(content).to_bytes(_LENGTH, "big"))
    answer.write(content)
    answer.flush()


def _begin(process: "subprocess.Popen[bytes]", order: bytes) -> IO[bytes]:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    try:
        process.stdin.write(order)
        process.stdin.close()
    except BrokenPipeError:
        raise EOFError from None
    if _frame(process.stdout)[0] != _STARTED:
        raise EOFError
    return process.stdout


def _not_started(module: str) -> SecurePlatformError:
    return SecurePlatformError(
        f"The process {module.rpartition('.')[2]} could not be started",
        "Check the installation, and what this machine has left of memory and processes.",
    )


def _receive(answer: IO[bytes]) -> Iterator[pa.Table]:
    while (frame := _frame(answer))[0] == _TABLE:
        yield pa.ipc.open_stream(frame[1]).read_all()
    if frame[0] == _REFUSED:
        told = json.loads(frame[1])
        raise getattr(errors, told["error"])(told["culprit"], told["fix"])
    if frame[0] != _FINISHED:
        raise EOFError


def _frame(answer: IO[bytes]) -> tuple[bytes, bytes]:
    head = answer.read(1 + _LENGTH)
    length = int.from_bytes(head[1:], "big")
    content = answer.read(length) if len(head) == 1 + _LENGTH and length <= FRAME_LIMIT else b""
    if len(head) != 1 + _LENGTH or len(content) != length:
        raise EOFError
    return head[:1], content
