"""A process of the suite that starts dbt asks the warm one (`warm_dbt.py`), where its environment names it.

A program that a test gives an environment of its own starts dbt as users do: those of `leaks/`, the foreign
project, and those that are killed.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

WARM_DBT: Final = "WARM_DBT"
"""The variable that holds the socket."""
CLIENT: Final = Path(__file__).parents[1] / "warm_dbt_client.py"
DBT: Final = str(Path(sys.executable).with_name("dbt"))
_installed: list[bool] = []


def install() -> None:
    """From now on, in this process."""
    if _installed:
        return
    _installed.append(True)
    start = subprocess.Popen.__init__

    def start_warm(process: Any, command: Any, *arguments: Any, **options: Any) -> None:
        socket = os.environ.get(WARM_DBT)
        if socket and isinstance(command, list) and command[0] == DBT:
            command = [sys.executable, "-IS", str(CLIENT), socket, *command]
        start(process, command, *arguments, **options)

    subprocess.Popen.__init__ = start_warm  # type: ignore[method-assign,assignment]
