"""Which statistics about people a product publishes with noise, and how much it may spend in a period.

`aggregates.yaml`, beside `defs.yaml`, declares one budget for the product and the tables that draw on it.
Each table states bounds for every person: how many groups they count in, with how many rows in each, and
between which limits a number is taken. The noise therefore never depends on the data.
"""

from collections.abc import Collection, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from secure_platform.contract.checked import checked
from secure_platform.contract.load import load_document
from secure_platform.contract.names import COLUMN, Name
from secure_platform.contract.place import Place, shown

FILE: Final = "aggregates.yaml"
MOST_CELLS: Final = 10_000
"""Numbers in a table of declared groups."""
MOST_STEPS: Final = 1_000_000_000
MOST_BINS: Final = 1_000
Kind: TypeAlias = Literal["rows", "persons", "sum", "mean", "quantile"]
Period: TypeAlias = Literal["day", "week", "month", "quarter", "year", "forever"]
PERIODS: Final[tuple[Period, ...]] = get_args(Period)
"""From the shortest to the longest."""
_OF_A_COLUMN: Final = frozenset({"sum", "mean", "quantile"})

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1_000_000_000, allow_inf_nan=False)]
LEAST: Final = 1e-6
"""Of epsilon and rho: less tells nothing of anybody, and the noise would fill the table's numbers."""
LEAST_DELTA: Final = 1e-18
Probability = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


def _named(value: str) -> str:
    if not COLUMN.fullmatch(value):
        message = "it cannot name a column"
        raise ValueError(message)
    return value


def _flat(value: Any) -> Any:
    """Neither lists nor true for 1."""
    if isinstance(value, bool | str | int):
        return value
    message = "a partition is text, a whole number, true or false"
    raise ValueError(message)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len({(type(value), value) for value in values}) != len(values):
        message = "a value appears twice"
        raise ValueError(message)
    return values


ColumnName = Annotated[str, AfterValidator(_named)]
Partition = Annotated[str | int | bool, BeforeValidator(_flat)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Budget(_Part):
    """What may be told of anybody in a period, by all aggregates of the product together.

    Attributes:
        epsilon, delta: Of differential privacy with a whole person more or less.
        period: After which it renews, by the calendar in UTC.
        composition: How what is spent adds up: `basic` adds epsilons and deltas; `zcdp` adds rho, of which
            many small ones make less epsilon, and needs a delta.
    """

    epsilon: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
    delta: Probability = 0.0
    period: Period
    composition: Literal["basic", "zcdp"] = "basic"

    @model_validator(mode="after")
    def _consistent(self) -> "Budget":
        if self.composition == "zcdp" and not self.delta:
            message = "composition zcdp needs a delta above 0"
            raise ValueError(message)
        return self


class Group(_Part):
    """A column that the table is grouped by; its values are declared, or told from a delta on."""

    column: ColumnName
    partitions: Annotated[tuple[Partition, ...], Field(min_length=1), AfterValidator(_distinct)] | None = None


class Contribution(_Part):
    """What one person adds at most: to so many groups, so many rows in each."""

    groups: Annotated[int, Field(ge=1, le=10_000)]
    rows: Annotated[int, Field(ge=1, le=10_000)]


class Measure(_Part):
    """A number that is told of each group.

    Attributes:
        kind: `rows` and `persons` are counts; the others are of a column.
        lowest, highest: A value beyond them counts as the limit.
        step: What a value is rounded to.
        at: Which quantile, as a share.
    """

    name: Name
    kind: Kind
    column: ColumnName | None = None
    lowest: Number | None = None
    highest: Number | None = None
    step: Positive | None = None
    at: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Measure":
        problem = self._problem()
        if problem:
            raise ValueError(problem)
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """The limits in steps."""
        step = exact(self.step or 1)
        return int(exact(self.lowest or 0) / step), int(exact(self.highest or 0) / step)

    @property
    def numbers(self) -> int:
        """How many numbers of each group it is made of."""
        lowest, highest = self.bounds
        return highest - lowest + 1 if self.kind == "quantile" else 1

    def _problem(self) -> str | None:
        of_a_column = (self.column, self.lowest, self.highest, self.step)
        if (self.at is not None) is not (self.kind == "quantile"):
            return "a quantile needs `at`, nothing else has it"
        if self.kind not in _OF_A_COLUMN:
            return "a count has no column, limits or step" if of_a_column != (None,) * 4 else None
        if None in of_a_column:
            return f"a {self.kind} needs column, lowest, highest and step"
        return self._wrong_limits()

    def _wrong_limits(self) -> str | None:
        step = exact(self.step or 1)
        steps = [exact(limit or 0) / step for limit in (self.lowest, self.highest)]
        if steps[0] >= steps[1] or any(each.denominator != 1 for each in steps):
            return "lowest is below highest, and both are multiples of step"
        if max(map(abs, steps)) > MOST_STEPS:
            return f"the limits are at most {MOST_STEPS:,} steps from 0"
        if self.kind == "quantile" and steps[1] - steps[0] >= MOST_BINS:
            return f"a quantile is one of at most {MOST_BINS:,} steps"
        return None


def _enough(delta: float) -> float:
    if 0 < delta < LEAST_DELTA:
        message = f"delta is at least {LEAST_DELTA:g}, or none"
        raise ValueError(message)
    return delta


def _counted_once(measures: tuple[Measure, ...]) -> tuple[Measure, ...]:
    if [each.kind for each in measures].count("persons") > 1:
        message = "persons are counted once"
        raise ValueError(message)
    return measures


class Aggregate(_Part):
    """A table of a release.

    Attributes:
        source: The dataset, after protection; its `subjectId` is whose privacy is kept.
        epsilon: What it spends when its data have changed; its noise is discrete Laplace.
        rho: The same of zero-concentrated differential privacy; its noise is discrete Gaussian.
        delta: The chance that a group is told that nobody but one person is in; for groups not declared.
    """

    name: Name
    description: Annotated[str, Field(min_length=1)]
    source: Name
    group_by: Annotated[tuple[Group, ...], Field(max_length=5)] = ()
    contribution: Contribution
    measures: Annotated[
        tuple[Measure, ...], Field(min_length=1, max_length=20), AfterValidator(_counted_once)
    ]
    epsilon: Annotated[float, Field(ge=LEAST, le=100, allow_inf_nan=False)] | None = None
    rho: Annotated[float, Field(ge=LEAST, le=100, allow_inf_nan=False)] | None = None
    delta: Annotated[Probability, AfterValidator(_enough)] = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> "Aggregate":
        problem = self._problem()
        if problem:
            raise ValueError(problem)
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the table, in their order."""
        return (*(group.column for group in self.group_by), *(each.name for each in self.measures))

    @property
    def declared(self) -> bool:
        """Whether all its groups are declared, so that they tell nothing."""
        return all(group.partitions is not None for group in self.group_by)

    def _problem(self) -> str | None:
        if len({name.lower() for name in self.columns}) != len(self.columns):
            return "a column of the table appears twice"
        if (self.epsilon is None) == (self.rho is None):
            return "write epsilon (Laplace) or rho (Gaussian)"
        if self.declared is bool(self.delta):
            return "write delta if a column of group_by has no partitions, and only then"
        if not self.declared and self.epsilon is None:
            return "groups that are not declared need epsilon"
        cells = sum(each.numbers for each in self.measures)
        for group in self.group_by:
            cells *= len(group.partitions or (0,))
        return f"the table has more than {MOST_CELLS:,} numbers" if cells > MOST_CELLS else None


class Aggregates(_Part):
    """The whole document."""

    budget: Budget
    aggregates: Annotated[tuple[Aggregate, ...], Field(min_length=1)]

    @property
    def by_name(self) -> Mapping[str, Aggregate]:
        """The tables by their names, in the order of the document."""
        return {each.name: each for each in self.aggregates}

    def __str__(self) -> str:
        budget = f"epsilon {self.budget.epsilon:g} and delta {self.budget.delta:g} a {self.budget.period}"
        return f"{budget} for {', '.join(self.by_name)}"


def exact(number: float) -> Fraction:
    """A number as its shortest decimal says it: 0.1 is a tenth."""
    return Fraction(repr(number))


def read_aggregates(directory: Path, taken: Collection[str]) -> Aggregates | None:
    """The document in a product's folder; None where there is none.

    Args:
        directory: Of the product.
        taken: Names of its datasets and models.

    Raises:
        ContractError: If anything in it is not understood, or a name is taken.
    """
    path = directory / FILE
    if not path.exists():
        return None
    place = Place.of(path)
    known = {name for model in _MODELS for name in model.model_fields}
    found = checked(Aggregates, load_document(path), place, known)
    names = [each.name for each in found.aggregates]
    for name in names:
        if name in taken or names.count(name) > 1:
            raise place.refusal(
                f"the name {shown(name)} is taken",
                "Use a name that no dataset, model or other aggregate has.",
            )
    zcdp = found.budget.composition == "zcdp"
    for each in found.aggregates:
        if each.rho is not None and not zcdp:
            raise place.at(each.name).refusal(
                "has rho, which a budget of epsilon does not count",
                "Write `composition: zcdp` and a delta in the budget, or `epsilon` here.",
            )
    return found


_MODELS: Final[tuple[type[_Part], ...]] = (Aggregates, Aggregate, Budget, Group, Contribution, Measure)
