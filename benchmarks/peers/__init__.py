"""Other tools, in an environment of their own (`make peers`); a benchmark does without them."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PYTHON: Final = Path(__file__).parent / ".venv" / "bin" / "python"


@dataclass(frozen=True)
class Answer:
    """What a peer found, and the seconds that it took without its start."""

    wall: float
    cpu: float
    found: list[list[Any]]


def installed() -> bool:
    """Whether the peers are there."""
    return PYTHON.exists()


def ask(peer: str, data: Any) -> Answer:
    """Run a peer over texts or a table."""
    finished = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name("peer.py")), peer],
        input=json.dumps(data),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    return Answer(**json.loads(finished.stdout))
