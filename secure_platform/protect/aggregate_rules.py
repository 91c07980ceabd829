"""An aggregate is refused with the plan if one person could change more than their own rows.

Rows left behind for k and l, and shuffled values, depend on everybody. Rows that stay behind because the row
they reference is missing depend on another person, unless that row is known to be of the same one
(`own_rows.py`). A subject whose cells differ from row to row would count as many people, and two with the
same cell as one. In all these cases, the noise would hide less than is declared.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from secure_platform.contract.aggregates import Aggregate, Group
from secure_platform.contract.model import Contract, Scalar
from secure_platform.contract.product import Product
from secure_platform.errors import PlanRefusedError
from secure_platform.protect.own_rows import follows, keeps_persons, reaching, subject_in
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.told import errors

_GROUPED: Final[Mapping[str, type]] = {
    "String": str, "Int64": int, "Int32": int, "Boolean": bool, "Date": date,
}  # fmt: skip
_COUNTED: Final = frozenset({"Int64", "Int32", "Float64"})
_OF_EVERYBODY: Final = "shuffle"
_OF_ANOTHER: Final = (
    "One person would take rows of others along: refuse what is invalid, drop the column, or let "
    "relationships lead `subjectId` of both datasets to one key."
)
_MOST_NOISE: Final = 1e15
"""A column of whole numbers has room for thousands of times this deviation."""


def subject_of(contract: Contract) -> str:
    """The column that identifies the persons whose privacy an aggregate protects.

    Raises:
        PlanRefusedError: If the contract names none.
    """
    column = subject_in(contract)
    if column is not None:
        return column.name
    raise PlanRefusedError(
        f"{contract.dataset} has an aggregate and no subject",
        "Mark the column that says whom a row is about with `subjectId: true`.",
    )


def require_aggregates(product: Product, plans: Mapping[str, DatasetPlan]) -> None:
    """Refuse aggregates whose noise would not hide a person.

    Raises:
        PlanRefusedError: Naming the first aggregate, and why.
    """
    for aggregate in product.aggregates.aggregates if product.aggregates else ():
        problem = next(_problems(product, plans, aggregate), None)
        if problem:
            raise PlanRefusedError(f"The aggregate {aggregate.name} {problem[0]}", problem[1])


def _problems(
    product: Product, plans: Mapping[str, DatasetPlan], aggregate: Aggregate
) -> Iterator[tuple[str, str]]:
    if aggregate.source not in product.contracts:
        yield f"is of {aggregate.source}, which is no dataset", "Name a dataset of the product as its source."
        return
    outputs = {column.column: column for column in plans[aggregate.source].outputs}
    if not keeps_persons(plans[aggregate.source], subject_of(product.contracts[aggregate.source])):
        yield (
            "needs a subject that is the same in all rows of a person, and of nobody else",
            "Tokenize the column of the subject, or encrypt it with `mode: deterministic`.",
        )
    for dataset in reaching(product, aggregate.source):
        suppression = plans[dataset].suppression
        if suppression is not None and suppression.quasi:
            yield (
                f"depends on {dataset}, whose rows stay behind for k or l",
                "Take a dataset of which none do: which rows these are depends on everybody.",
            )
        yield from _pointing(product, plans, dataset)
    if any(error.deviation > _MOST_NOISE for error in errors(aggregate)):
        yield "has more noise than a table has room for", "Narrow its limits, or let it spend more."
    for group in aggregate.group_by:
        yield from _grouped(group, outputs.get(group.column))
    for measure in aggregate.measures:
        column = outputs.get(measure.column or "")
        if measure.column is not None and (column is None or column.output_type not in _COUNTED):
            yield f"counts {measure.column}, which is no number after protection", "Name a column that is."
        elif column is not None:
            yield from _own(column)


def _pointing(product: Product, plans: Mapping[str, DatasetPlan], dataset: str) -> Iterator[tuple[str, str]]:
    """Foreign keys whose row stays behind with the row they reference, which may be another person's."""
    for column, found in follows(product, plans, dataset):
        key = product.contracts[dataset].column(column).reference
        if found is None and key is not None:
            yield (
                f"depends on {dataset}.{column}, whose rows go when {key.dataset} has no such row",
                _OF_ANOTHER,
            )


def _grouped(group: Group, column: ColumnPlan | None) -> Iterator[tuple[str, str]]:
    kind = _GROUPED.get(column.output_type or "") if column else None
    if column is None or kind is None:
        yield (
            f"is grouped by {group.column}, which cannot be grouped by after protection",
            "Name a column of text, whole numbers, dates or true and false.",
        )
        return
    yield from _own(column)
    if not all(_is(kind, value) for value in group.partitions or ()):
        yield (
            f"declares partitions of {group.column} that are of another type",
            "Write values as the column has them after protection: text and dates in quotes.",
        )


def _is(kind: type, value: Scalar) -> bool:
    if kind is not date:
        return type(value) is kind
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _own(column: ColumnPlan) -> Iterator[tuple[str, str]]:
    if any(each.transform == _OF_EVERYBODY for each in column.every()):
        yield f"uses {column.column}, whose values are shuffled between people", "Use another transform."
