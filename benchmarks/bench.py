"""What a subject is given, and what it gives back: figures, each with its peer or its target."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Measurement, measure


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        rows: Of the secure copy.
        step_rows: Of the pull and protect steps.
        datasets: Sizes of the generated projects.
        entries: Of the audit log.
        steps: Per-step overhead is taken over this many.
        repeats: Of what is cheap enough to repeat.
        demos: Runs of the demo, one after the other on one home.
        requests: To each web server.
        files: Written with and without an envelope.
        file_rows: Of each of them.
        tables: Labelled tables that are scanned; all if None.
        scan_rows: Of the table that is classified for speed.
        text_lines: Of free text.
        sentences: Labelled ones; all if None.
        protect_rows: Of each column that is transformed.
        series: Daily ones that are judged, at each level of noise.
        days: Of each product that is simulated, at most.
    """

    rows: int = 10_000_000
    step_rows: int = 1_000_000
    datasets: tuple[int, ...] = (100, 1_000, 2_000)
    entries: int = 10_000
    steps: int = 50
    repeats: int = 3
    demos: int = 2
    requests: int = 300
    files: int = 50
    file_rows: tuple[int, ...] = (1_000, 100_000)
    tables: int | None = None
    scan_rows: int = 200_000
    text_lines: int = 400_000
    sentences: int | None = None
    protect_rows: int = 5_000_000
    series: int = 2_000
    days: int = 400


TINY = Scale(
    rows=3_000,
    step_rows=1_000,
    datasets=(2,),
    entries=20,
    steps=2,
    repeats=1,
    demos=1,
    requests=2,
    files=2,
    file_rows=(1_000,),
    tables=1,
    scan_rows=500,
    text_lines=2_000,
    sentences=100,
    protect_rows=2_000,
    series=40,
    days=6,
)


@dataclass(frozen=True)
class Figure:
    """One number to look at.

    Attributes:
        of: What it is held against: the peer of a ratio, or nothing.
        target: The bound it must keep; at most, unless `at_least`.
    """

    name: str
    value: float
    unit: str
    of: str = ""
    target: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass
class Bench:
    """Where one subject works and measures.

    Attributes:
        folder: Its own, removed afterwards.
        say: Tells the user what is going on.
    """

    folder: Path
    scale: Scale
    say: Callable[[str], None]
    measurements: list[Measurement] = field(default_factory=list)

    def measure(self, name: str, function: str, *, repeats: int = 1, **parameters: Any) -> Measurement:
        """Measure `module:function` of this package in a process of its own."""
        self.say(name)
        measured = measure(name, f"benchmarks.{function}", parameters, repeats)
        self.measurements.append(measured)
        return measured
