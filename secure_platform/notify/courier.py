"""While a server runs, queued notices are sent soon; failures are remembered by the queue, not the server."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from secure_platform.notify.guard import TOTAL_SECONDS
from secure_platform.notify.outbox import Notices

PAUSE_SECONDS: Final = 5.0
Task = Callable[[], object]
_logger = logging.getLogger(__name__)


@contextmanager
def delivering(notices: Notices, *before: Task, feeds: Sequence[Task] = ()) -> Iterator[None]:
    """Send what is due, again and again, while the block runs.

    Args:
        notices: The queue.
        before: What is done before each round, such as queueing; one that fails stops no other.
        feeds: What goes to other receivers. Each is sent beside, so that one who is slow holds no notice up.
    """
    stopping = threading.Event()
    rounds = [
        ("notices", (*before, notices.deliver)),
        *((f"feed {at}", (feed,)) for at, feed in enumerate(feeds)),
    ]
    workers = [
        threading.Thread(target=_work, args=(name, tasks, stopping), name=name, daemon=True)
        for name, tasks in rounds
    ]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stopping.set()
        deadline = time.monotonic() + TOTAL_SECONDS
        for worker in workers:
            worker.join(max(deadline - time.monotonic(), 0))


def _work(name: str, tasks: tuple[Task, ...], stopping: threading.Event) -> None:
    while True:
        for task in tasks:
            try:
                task()
            except Exception as error:  # noqa: BLE001 - the next round may succeed
                _logger.error("Nothing could be sent by %s: %s", name, type(error).__name__)  # noqa: TRY400
        if stopping.wait(PAUSE_SECONDS):
            return
