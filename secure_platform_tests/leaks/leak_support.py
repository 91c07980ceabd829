"""The platform's programs in a sealed room, with everything around them that they could write into."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from canaries import needles
from content_search import Search
from leak_scenes import Scene, spoken
from sealed_room import Room, Written
from waiting import processes_of

from secure_platform.settings import PACKAGE

ROOT = PACKAGE.parent
PLAY: Final = Path(__file__).with_name("leak_scenes.py")


@dataclass(frozen=True)
class Outcome:
    """What a program left.

    Attributes:
        code: Its exit code; negative if a signal ended it.
        out: What it printed.
        printed: Labels of the needles in that.
        files: Every file that was written meanwhile.
    """

    code: int
    out: str
    printed: frozenset[str]
    files: tuple[Written, ...]

    @property
    def holders(self) -> dict[str, set[str]]:
        """Path → labels of the needles that the file held."""
        return {file.path: file.holds for file in self.files if file.holds}


@dataclass(frozen=True)
class World:
    """A room and the folders of its user.

    Attributes:
        room: Where programs run.
        scratch: Holds the home, the user's folder, temporary files and the current directory.
        variables: That every program is given besides.
    """

    room: Room
    scratch: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """Where everything belongs that is written."""
        return self.scratch / "home"

    def environment(self, **given: str) -> dict[str, str]:
        """What a user's shell would give; no code is compiled to files, for some holds the canaries."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder("user")),
            "TMPDIR": str(self._folder("tmp")),
            "SECURE_PLATFORM_HOME": str(self.home),
            "SECURE_PLATFORM_DBT_PROJECT": str(self.dbt_project),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.variables,
            **given,
        }

    def start(self, *arguments: str | Path, output: Path, **given: str) -> subprocess.Popen[bytes]:
        """Start Python in the room; what it prints goes to a file outside of what is searched as written."""
        with output.open("wb") as file:
            return subprocess.Popen(
                self.room.command([sys.executable, *arguments], cwd=self._folder("work")),
                env=self.environment(**given),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def play(self, *scenes: Scene) -> Outcome:
        """Run commands in one process of the platform, one after the other."""
        process, output = self.begin(*scenes)
        return self.outcome(process.wait(400), output)

    def begin(self, *scenes: Scene) -> tuple[subprocess.Popen[bytes], Path]:
        """Start to play; the second value is the file with what is printed."""
        output = self.scratch / "output"
        return self.start(PLAY, spoken(scenes), output=output), output

    def outcome(self, code: int, output: Path) -> Outcome:
        """What was written and printed since the last outcome."""
        printed = output.read_bytes()
        labels = Search(needles()).labels(printed)
        return Outcome(code, printed.decode(errors="replace"), labels, tuple(self.room.take()))

    @property
    def dbt_project(self) -> Path:
        """A copy of the platform's, where there is one, else the platform's."""
        copy = self.scratch / "dbt"
        return copy if copy.exists() else ROOT / "dbt"

    def change_dbt_project(self, *changes: tuple[str, str, str]) -> None:
        """Use a copy with files added or texts replaced: path, what, by what."""
        copy = self.scratch / "dbt"
        shutil.copytree(ROOT / "dbt", copy, ignore=shutil.ignore_patterns("target", "logs"))
        for path, old, new in changes:
            file = copy / path
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            assert text.count(old) == 1, path
            file.write_text(text.replace(old, new), encoding="utf-8")

    def kill(self) -> None:
        """Kill them all, as the kernel does when memory runs out, and wait until their files are closed."""
        while pids := processes_of(self.home):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _folder(self, name: str) -> Path:
        (self.scratch / name).mkdir(exist_ok=True)
        return self.scratch / name
