"""Run as a program: commands of the platform in one process, some of them with a function of ours broken.

Each says its name and its exit code; a scene that kills the process is the last one. Every child says which
of the variables that it was given hold a key.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from canaries import BORN, EXPENSES, KEY_LABEL, LATITUDE, MOMENT, TEXTS, needles, plant_in_keys

from secure_platform.cli.main import run

PLAIN_KEYS = "LEAKS_PLAIN_KEYS"
"""Variable of a world whose home other programs open too: keys are what they are."""
MESSAGE = f"the row was {TEXTS}, {EXPENSES}, {LATITUDE}, {MOMENT}, {BORN}"


@dataclass(frozen=True)
class Scene:
    """One command.

    Attributes:
        name: Of the way that the canaries go.
        arguments: Of the command line.
        broken: `module:function` or `module:Class.method` of ours that fails.
        kills: Whether it kills the process, instead of raising an error that holds canaries.
        environment: Variables from now on.
    """

    name: str
    arguments: tuple[str, ...]
    broken: str | None = None
    kills: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def spoken(scenes: Sequence[Scene]) -> str:
    """The scenes as an argument of this program."""
    return json.dumps([asdict(scene) for scene in scenes])


def fail(*_: Any, **__: Any) -> None:
    raise ValueError(MESSAGE)


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def broken(scene: Scene) -> Iterator[None]:
    if scene.broken is None:
        yield
        return
    module, _, name = scene.broken.partition(":")
    owner, _, attribute = name.rpartition(".")
    holder = import_module(module)
    with patch.object(getattr(holder, owner) if owner else holder, attribute, die if scene.kills else fail):
        yield


def play(scene: Scene) -> int:
    os.environ.update(scene.environment)
    with broken(scene):
        return run(list(scene.arguments))


def tell_of_children(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "subprocess.Popen":
        return
    program, _, _, environment = arguments
    given = os.environ if environment is None else environment
    keys = [needle for label, needle in needles().items() if label.startswith(KEY_LABEL)]
    holding = [name for name, value in given.items() if any(key in os.fsencode(value) for key in keys)]
    print(f"-- {Path(os.fsdecode(program)).name}: {', '.join(holding)}", flush=True)  # noqa: T201


if __name__ == "__main__":
    if PLAIN_KEYS not in os.environ:
        plant_in_keys()
    sys.addaudithook(tell_of_children)
    for spoken_scene in json.loads(sys.argv[1]):
        read = Scene(**spoken_scene)
        print(f"== {read.name}: {play(read)}", flush=True)  # noqa: T201 - this is a program
