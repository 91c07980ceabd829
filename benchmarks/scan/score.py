"""How right findings are about the labelled tables: by part, by group, by type and by column.

Half of the folders are held out: their scores are looked at after a change is made, never to make one. Which
half is decided by a digest of the folder's name; what the scanner was made with is not held out.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.scan.tables import Label, labels
from secure_platform.taxonomy.info_types import info_types

# What the tests of the scanner read; and the logs in JSON, which have one folder more among those held out.
OPEN: Final = frozenset(
    {
        *("healthcare/synthea_csv", "pii/presidio_synth_dataset_v2.json"),
        *("security_logs/cloudtrail_stratus", "security_logs/cloudtrail_invictus.tar.gz"),
    }
)
SENSITIVE: Final = frozenset({"identifier", "secret"})

Verdict = Literal["right", "missed", "false"]
Found = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Outcome:
    """One label or finding of one column, and whether the scan was right about it."""

    table: str
    column: str
    info_type: str
    verdict: Verdict

    @property
    def group(self) -> str:
        """The group of the type; identifiers and secrets together are `sensitive`."""
        group = info_types()[self.info_type].group
        return "sensitive" if group in SENSITIVE else group


@dataclass(frozen=True)
class Score:
    """Labels that were found and missed, and findings that no label allows."""

    right: int
    missed: int
    false: int

    @property
    def precision(self) -> float:
        """The share of findings that are right; 1 where nothing was found."""
        return self.right / (self.right + self.false) if self.right + self.false else 1.0

    @property
    def recall(self) -> float:
        """The share of labels that were found; 1 where there is none."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0


def held_out(table: str) -> bool:
    """Whether a table's folder is kept away from every decision about the scanner."""
    folder = "/".join(table.split("/")[:2])
    return folder not in OPEN and hashlib.sha256(folder.encode()).digest()[-1] % 2 == 1


def outcomes(table: str, found: Found) -> Iterator[Outcome]:
    """Every label and finding of a table's columns that says something about the scan."""
    for column, label in labels()[table].items():
        reported = set(found.get(column, ()))
        for names in label.required:
            met = sorted(names & reported)
            yield Outcome(table, column, (met or sorted(names))[0], "right" if met else "missed")
        for name in sorted(reported - label.allowed):
            yield Outcome(table, column, name, "false")


def score(judged: Iterable[Outcome]) -> Score:
    """The sum of some outcomes."""
    verdicts = Counter(outcome.verdict for outcome in judged)
    return Score(verdicts["right"], verdicts["missed"], verdicts["false"])


def exact(label: Label, found: Collection[str]) -> bool:
    """Whether a column's findings are its labels, nothing missing and nothing more."""
    return set(found) <= label.allowed and all(names & set(found) for names in label.required)
