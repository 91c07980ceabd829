"""While a server runs, what is queued is sent soon; the queue remembers failures, the server never does."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from secure_platform.notify.guard import TOTAL_SECONDS
from secure_platform.notify.outbox import Notices

PAUSE_SECONDS: Final = 5.0
Task = Callable[[], object]
_logger = logging.getLogger(__name__)


@contextmanager
def delivering(notices: Notices, *before: Task) -> Iterator[None]:
    """Send what is due, again and again, while the block runs.

    Args:
        notices: The queue.
        before: What is done before each round, such as queueing; one that fails stops no other.
    """
    stopping = threading.Event()
    tasks = (*before, notices.deliver)
    worker = threading.Thread(target=_work, args=(tasks, stopping), name="notices", daemon=True)
    worker.start()
    try:
        yield
    finally:
        stopping.set()
        worker.join(TOTAL_SECONDS)


def _work(tasks: tuple[Task, ...], stopping: threading.Event) -> None:
    while True:
        for task in tasks:
            try:
                task()
            except Exception as error:  # noqa: BLE001 - the next round may succeed
                _logger.error("Notices could not be sent: %s", type(error).__name__)  # noqa: TRY400
        if stopping.wait(PAUSE_SECONDS):
            return
