"""From files to drafts, in a fixed order: types, meaning, keys, then what may be written down."""

from collections.abc import Iterable, Sequence

from secure_platform.errors import UsageError
from secure_platform.scan.columns import Scanner
from secure_platform.scan.draft.columns import TableDraft
from secure_platform.scan.draft.dependent import dependent
from secure_platform.scan.draft.keys import keyed, related
from secure_platform.scan.draft.limits import MOST_VALUES, limited
from secure_platform.scan.draft.meaning import understood
from secure_platform.scan.draft.patterns import patterned
from secure_platform.scan.draft.shapes import shaped
from secure_platform.scan.draft.tables import Table


def named_once(tables: Iterable[Table]) -> list[Table]:
    """The tables in order of their datasets.

    Raises:
        UsageError: If two of them would be one dataset.
    """
    named: dict[str, Table] = {}
    for table in tables:
        if table.dataset in named:
            raise UsageError(f"Two files would be the dataset {table.dataset}", "Rename one of them.")
        named[table.dataset] = table
    return [named[name] for name in sorted(named)]


def drafted(tables: Sequence[Table], scanner: Scanner) -> list[TableDraft]:
    """What is proposed for the tables, before a profile says how they are protected."""
    understandings = [understood(shaped(table), scanner) for table in tables]
    told = limited(related([keyed(draft) for draft in understandings]))
    return [_looked_at(dependent(draft)) for draft in patterned(told)]


def _looked_at(draft: TableDraft) -> TableDraft:
    """What nothing was found in may be anything: a text that is no key and has no list of values."""
    return draft.with_columns(
        [
            column.doubted("text of no known kind: look whether it tells of people")
            for column in draft.columns
            if column.logical_type == "string"
            and column.distinct > MOST_VALUES
            and not (column.info_type or column.protect or column.is_key)
        ]
    )
