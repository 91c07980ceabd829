"""While a server runs, what is queued is sent soon; the queue remembers failures, the server never does."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from secure_platform.notify.guard import TOTAL_SECONDS
from secure_platform.notify.outbox import Notices

PAUSE_SECONDS: Final = 5.0
_logger = logging.getLogger(__name__)


@contextmanager
def delivering(notices: Notices) -> Iterator[None]:
    """Send what is due, again and again, while the block runs."""
    stopping = threading.Event()
    worker = threading.Thread(target=_work, args=(notices, stopping), name="notices", daemon=True)
    worker.start()
    try:
        yield
    finally:
        stopping.set()
        worker.join(TOTAL_SECONDS)


def _work(notices: Notices, stopping: threading.Event) -> None:
    while True:
        try:
            notices.deliver()
        except Exception as error:  # noqa: BLE001 - the next round may succeed
            _logger.error("Notices could not be sent: %s", type(error).__name__)  # noqa: TRY400
        if stopping.wait(PAUSE_SECONDS):
            return
