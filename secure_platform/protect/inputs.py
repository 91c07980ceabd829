"""What a transform is, and what it is built from: a column, the plan's parameters, a key, other columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

import polars as pl

from secure_platform.contract.model import Scalar
from secure_platform.errors import PlanRefusedError
from secure_platform.keys.material import CellKey, PersonKeys, TokenKey
from secure_platform.keys.stored_tokens import TokenStore


@dataclass(frozen=True)
class Inputs:
    """What an expression is built from, besides the column.

    Attributes:
        dtype: The column's type in the typed frame.
        params: As the plan resolved them.
        key: For keyed transforms.
        domain: Which key it is.
        others: Canonical text of the columns that the parameters name, such as the subject's id.
        persons: The keys of the persons, where each has one.
        store: Where tokens are that were drawn, for what draws them.
        parts: The column under each of the transforms that this one is made of.
    """

    dtype: pl.DataType
    params: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))
    key: TokenKey | CellKey | None = None
    domain: str = ""
    others: Mapping[str, pl.Expr] = field(default_factory=lambda: MappingProxyType({}))
    persons: PersonKeys | None = None
    store: TokenStore | None = None
    parts: Mapping[str, pl.Expr] = field(default_factory=lambda: MappingProxyType({}))

    def number(self, name: str) -> int | None:
        """An integer parameter of the plan."""
        value = self.params.get(name)
        return None if value is None else int(value)

    def decimals(self, name: str) -> int:
        """How many decimal places a number among the parameters needs."""
        return max(0, -int(Decimal(str(self.params[name])).normalize().as_tuple().exponent))

    def required_key(self) -> TokenKey | CellKey:
        """The key; a keyed transform without one is refused."""
        if self.key is None:
            raise PlanRefusedError("A keyed transform has no key", "Compile the plan again.")
        return self.key

    def other(self, name: str) -> pl.Expr:
        """Canonical text of another column, by the parameter that names it."""
        if name not in self.others:
            raise PlanRefusedError(f"A transform lacks the {name} that it needs", "Compile the plan again.")
        return self.others[name]


@dataclass(frozen=True)
class Transform:
    """How to build one transform.

    Attributes:
        build: Column and inputs to expression.
        outputs: Input type → output type; other input types are refused when the plan is compiled.
        key: The kind of key that it needs.
        undo: From the protected column and the inputs to the original; only if declared reversible.
    """

    build: Callable[[pl.Expr, Inputs], pl.Expr]
    outputs: Mapping[pl.DataType, pl.DataType]
    key: Literal["token", "cell"] | None = None
    undo: Callable[[pl.Series, Inputs], pl.Series] | None = None
