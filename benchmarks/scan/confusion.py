"""What was taken for what, by type and by table: made by the run, published in benchmarks/README.md.

A label that was missed and a false alarm of the same column are one confusion; a label missed alone was taken
for nothing, and a false alarm alone is nothing taken for something.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

from benchmarks.scan.score import Outcome, held_out, score

README: Final = Path(__file__).resolve().parents[1] / "README.md"
BEGIN: Final = "<!-- made by the run of scan: begin -->"
END: Final = "<!-- made by the run of scan: end -->"
NOTHING: Final = "nothing"

Confusions = Counter[tuple[str, str]]


def confusions(judged: Iterable[Outcome]) -> Confusions:
    """How often a type (or nothing) was taken for a type (or nothing)."""
    columns: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in judged:
        columns[outcome.table, outcome.column].append(outcome)
    counts: Confusions = Counter()
    for outcomes in columns.values():
        counts.update((each.info_type, each.info_type) for each in outcomes if each.verdict == "right")
        missed = [each.info_type for each in outcomes if each.verdict == "missed"]
        false = [each.info_type for each in outcomes if each.verdict == "false"]
        counts.update(zip_longest(missed, false, fillvalue=NOTHING))
    return counts


def publish(judged: Sequence[Outcome], readme: Path = README) -> None:
    """Write both tables between the marks of the page."""
    page = readme.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"{readme} has no marks for the tables of the scan"
    made = "\n".join([BEGIN, "", *_matrix(confusions(judged)), "", *_by_table(judged), "", END])
    readme.write_text(before + made + after, encoding="utf-8")


def _matrix(counts: Confusions) -> Iterator[str]:
    """One line for each type of the labels, with what it was found as: the matrix without its zeros."""
    yield "| label | found as it | found as something else, or not |"
    yield "|---|---|---|"
    for label in sorted({label for label, _ in counts}, key=lambda name: (name == NOTHING, name)):
        others = sorted((found, n) for (was, found), n in counts.items() if was == label and found != label)
        named = ", ".join(f"{found if found == NOTHING else f'`{found}`'} {n}" for found, n in others)
        right = "" if label == NOTHING else str(counts[label, label])
        yield f"| {label if label == NOTHING else f'`{label}`'} | {right} | {named} |"


def _by_table(judged: Iterable[Outcome]) -> Iterator[str]:
    """Identifiers and secrets by folder; what is held out is told as one, so that nobody tunes to it."""
    parts: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in judged:
        if outcome.group == "sensitive":
            open_table = f"`{outcome.table}`"
            parts["held-out folders" if held_out(outcome.table) else open_table].append(outcome)
    yield "| table | right | missed | false | precision | recall |"
    yield "|---|---|---|---|---|---|"
    for name in sorted(parts, key=lambda part: (part[0] != "`", part)):
        total = score(parts[name])
        shares = f"{total.precision:.2f} | {total.recall:.2f}"
        yield f"| {name} | {total.right} | {total.missed} | {total.false} | {shares} |"
