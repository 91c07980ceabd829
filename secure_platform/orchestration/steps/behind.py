"""What the verdict on the rows of a dataset tells people: how anonymous the rest is, or why it is refused."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Reached:
    """k, l, t and the information lost of one dataset, beside what was asked for.

    Attributes:
        dataset: Its name.
        rows: Among which rows were looked for that stand out.
        suppressed: Rows that stayed behind because they stood out.
        k, asked_k: The fewest subjects that share their quasi-identifiers; 0 when no row is left.
        l, asked_l: The fewest values of a sensitive column among them; None without sensitive columns.
        t: The furthest that the sensitive values of a class are from those of all rows, 0 to 1; else None.
        lost: The information lost, 0 to 1.
        at_most: The share of rows that was allowed to stay behind, 0 to 1.
    """

    dataset: str
    rows: int
    suppressed: int
    k: int
    asked_k: int
    l: int | None  # noqa: E741 - the name of the literature
    asked_l: int
    t: float | None
    lost: float
    at_most: float

    @classmethod
    def told(cls, dataset: str, detail: Mapping[str, Any]) -> Self | None:
        """From the detail of a verdict on rows; None where neither k nor l was asked for."""
        found = detail.get("anonymity")
        if found is None:
            return None
        asked, t = found["asked"], found["t"]
        return cls(
            dataset=dataset,
            rows=found["rows"],
            suppressed=found["suppressed"],
            k=found["k"],
            asked_k=asked["k"],
            l=found["l"],
            asked_l=asked["l"],
            t=None if t is None else float(t),
            lost=float(found["information_lost"]),
            at_most=float(asked["at_most"]),
        )

    @property
    def behind(self) -> str:
        """How many rows stayed behind for it, of how many, and how many might."""
        return f"{self.suppressed} of {self.rows}, at most {share(self.at_most)}"

    @property
    def wanted(self) -> str:
        """What was asked for, in the words of the contract."""
        return f"k={self.asked_k}" + (f", l={self.asked_l}" if self.l is not None else "")


def share(part: float) -> str:
    """A part of one as per cent, exact to a hundredth of them."""
    return f"{round(part * 100, 2):g} %"


def why_refused(dataset: str, detail: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Why a verdict on rows or references failed, and how many rows it is about.

    Args:
        dataset: Its name.
        detail: Of the verdict `rows` or `references`.
    """
    lost = max(detail["orphans"], detail.get("unresolved", 0))
    if "valid_rows_given" not in detail:
        yield "references a row that does not exist", lost
        return
    stayed = detail.get("stayed_behind", 0)
    uneven = detail["valid_rows_given"] - detail["rows"] - detail["orphans"] - stayed
    if uneven:
        yield "rows that are neither kept nor accounted for", abs(uneven)
        return
    reached = Reached.told(dataset, detail)
    if reached is not None:
        counted, allowed = f"{reached.suppressed} of {reached.rows}", share(reached.at_most)
        told = f"{counted} rows would stay behind for {reached.wanted}; at most {allowed} may"
        yield told, reached.suppressed
