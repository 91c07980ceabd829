"""Programs that the tests run at once or kill: `lock PATH` holds a lock, `count PATH N` counts up."""

import sys
import time
from pathlib import Path

from sqlalchemy import select, update

from secure_platform.control.database import ControlDatabase
from secure_platform.control.locks import file_lock
from secure_platform.control.tables import release


def increment(path: Path, times: int) -> None:
    """Read, then write: what a deferred transaction loses under concurrency."""
    database = ControlDatabase.at(path)
    for _ in range(times):
        with database.write() as connection:
            number: int = connection.execute(select(release.c.number)).scalar_one()
            connection.execute(update(release).values(number=number + 1))


def hold(path: Path) -> None:
    with file_lock(path, holder="the test"):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        time.sleep(600)


if __name__ == "__main__":
    if sys.argv[1] == "lock":
        hold(Path(sys.argv[2]))
    else:
        increment(Path(sys.argv[2]), int(sys.argv[3]))
