"""Which rows stay behind: those that conditions name, those outside the sample, and those that stand out.

A row stands out if fewer than k subjects share its quasi-identifiers, or if these have fewer than l sensitive
values. Whole classes stay behind, so that the rest satisfies k and l. The profile may ask for more than the
contract, never for less.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import polars as pl

from secure_platform.contract.model import Contract, Suppress
from secure_platform.errors import PlanRefusedError
from secure_platform.keys.material import TokenKey
from secure_platform.protect.conditions import meets, require_conditions
from secure_platform.protect.keyed import DRAW_HEX, DRAWS, canonical_text, hmac_hex
from secure_platform.protect.profile import Profile


class Output(Protocol):
    """A column that leaves raw."""

    @property
    def column(self) -> str:
        """Its name."""
        ...


class TokenKeys(Protocol):
    """Where the keys of a plan come from."""

    def token_key(self, domain: str, version: int) -> TokenKey:
        """The key of a token domain, in this version."""
        ...


@dataclass(frozen=True)
class Suppression:
    """Which rows of a dataset stay behind.

    Attributes:
        when: Conditions as JSON; rows that meet them stay behind. Empty for none.
        sample: The share of rows that is kept, by the key and the primary key.
        rows: The primary key.
        token_domain, token_version: The key of the sample; None when everything is kept.
        quasi: The quasi-identifiers, as they leave raw.
        subject: Whom a row is about, where one may have several rows.
        at_most: The share of rows that may stay behind for k and l.
    """

    when: str
    sample: float
    rows: tuple[str, ...]
    token_domain: str | None
    token_version: int | None
    k: int
    l: int  # noqa: E741 - the name of the literature
    quasi: tuple[str, ...]
    sensitive: tuple[str, ...]
    subject: str | None
    at_most: float

    def __str__(self) -> str:
        said = [
            f"those with {self.when}" if self.when else "",
            f"all but a sample of {self.sample:g}" if self.sample < 1 else "",
            f"as few as needed for k={self.k} and l={self.l} over {', '.join(self.quasi)}"
            if self.quasi
            else "",
        ]
        return "; ".join(filter(None, said))

    def to_json(self) -> dict[str, Any]:
        """As canonical JSON can carry it."""
        body = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in body.items()}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in body.items()
        }
        return cls(**values)


def compile_suppression(
    product: str,
    contract: Contract,
    outputs: Sequence[Output],
    profile: Profile,
    token_version: Callable[[str], int],
    persons: Callable[[], Collection[str]],
) -> Suppression | None:
    """What contract and profile say of the rows of a dataset.

    Args:
        product: Its name.
        contract: Of the dataset.
        outputs: The columns that leave raw.
        profile: What binds them.
        token_version: The version that a key is used in.
        persons: The columns that name a person, foreign keys included; asked where subjects are counted.

    Raises:
        PlanRefusedError: If it cannot be done with this dataset.
    """
    named = {output.column for output in outputs}
    marked = [column.name for column in contract.columns if column.quasi_identifier]
    quasi = tuple(name for name in marked if name in named)
    asked = contract.suppress or Suppress()
    least = profile.least_k if quasi else 1
    if contract.suppress is None and least == 1:
        return None
    k, sampled = max(asked.k, least), asked.sample < 1
    domain = f"sample:{product}.{contract.dataset}" if sampled else None
    _check(contract, asked, named, quasi, k)
    return Suppression(
        when=asked.when,
        sample=asked.sample,
        rows=contract.primary_key if sampled else (),
        token_domain=domain,
        token_version=token_version(domain) if domain else None,
        k=k,
        l=asked.l,
        quasi=quasi if max(k, asked.l) > 1 else (),
        sensitive=asked.sensitive,
        subject=_subject(contract, named, persons()) if max(k, asked.l) > 1 else None,
        at_most=asked.at_most,
    )


def chosen(rule: Suppression, typed: pl.LazyFrame, keys: TokenKeys) -> pl.LazyFrame:
    """The rows that no condition names and that are in the sample."""
    schema = typed.collect_schema()
    if rule.when:
        typed = typed.filter(~meets(rule.when, schema))
    if rule.token_domain is None or rule.token_version is None:
        return typed
    texts = [canonical_text(pl.col(name), schema[name]) for name in rule.rows]
    key = keys.token_key(rule.token_domain, rule.token_version)
    drawn = hmac_hex(pl.concat_str(texts, separator="\0"), key.key).str.head(DRAW_HEX)
    return typed.filter(drawn.str.to_integer(base=16, dtype=pl.Int64) < int(rule.sample * DRAWS))


def members(subject: str | None) -> pl.Expr:
    """How many a class has: rows, or different subjects; nobody is told apart from nobody."""
    return pl.len() if subject is None else pl.col(subject).drop_nulls().n_unique()


def in_large_classes(rule: Suppression, protected: pl.LazyFrame) -> pl.LazyFrame:
    """The rows whose quasi-identifiers k subjects share, with l values of each sensitive column."""
    if not rule.quasi:
        return protected
    enough = [
        members(rule.subject) >= rule.k,
        *(pl.col(name).drop_nulls().n_unique() >= rule.l for name in rule.sensitive),
    ]
    classes = protected.group_by(rule.quasi).agg(pl.all_horizontal(enough).alias("__enough"))
    large = classes.filter("__enough").select(rule.quasi)
    return protected.join(large, on=rule.quasi, how="semi", nulls_equal=True, maintain_order="left")


def _check(contract: Contract, asked: Suppress, named: set[str], quasi: Sequence[str], k: int) -> None:
    dataset = contract.dataset
    if asked.when:
        columns = {column.name: column.dtype for column in contract.columns}
        require_conditions(dataset, columns, asked.when)
    if asked.sample < 1 and not contract.primary_key:
        raise PlanRefusedError(
            f"{dataset} is sampled, but has no primary key",
            "Mark the column that names a row with `primaryKey: true`; the sample depends on it.",
        )
    if max(k, asked.l) > 1 and not quasi:
        raise PlanRefusedError(
            f"{dataset} asks for k or l, but no quasi-identifier leaves it",
            "Mark the columns by which somebody could be recognised with `quasiIdentifier: true`.",
        )
    hidden = [name for name in asked.sensitive if name not in named or name in quasi]
    if hidden:
        raise PlanRefusedError(
            f"{dataset}.{hidden[0]} is to have l values in each class, and is dropped or a quasi-identifier",
            "Name sensitive columns that leave raw.",
        )
    if any(column.reference and column.reference.dataset == dataset for column in contract.columns):
        raise PlanRefusedError(
            f"{dataset} references itself: rows that stay behind would be missing",
            "Drop the column that points at its own dataset, or keep all rows.",
        )


def _subject(contract: Contract, named: set[str], persons: Collection[str]) -> str | None:
    """The column that tells subjects apart, where rows do not."""
    marked = [column.name for column in contract.columns if column.subject_id]
    subjects = marked or [column.name for column in contract.columns if column.name in persons]
    if not subjects or contract.primary_key == tuple(subjects):
        return None
    if len(subjects) > 1:
        raise PlanRefusedError(
            f"{contract.dataset} is to have k subjects in each class, and {', '.join(subjects)} name one",
            "Mark one column with `subjectId: true`, or ask for no k and no l of rows about several people.",
        )
    if subjects[0] not in named:
        raise PlanRefusedError(
            f"{contract.dataset} is to have k subjects in each class, and {subjects[0]} is dropped",
            "Tokenize the column that names the subject: one may have several rows.",
        )
    return subjects[0]
