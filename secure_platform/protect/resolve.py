"""A decided transform gets what it needs: parameters, the other columns it reads, the domain of its key.

After that, nothing depends on when or where the plan is executed. If a transform cannot handle a column as
the contract describes it, it is refused here, before any data are read.
"""

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from secure_platform import canonical
from secure_platform.contract.model import Scalar
from secure_platform.contract.product import Product
from secure_platform.contract.protection import CONDITIONAL
from secure_platform.errors import PlanRefusedError
from secure_platform.keys.catalog import CELL
from secure_platform.protect.conditions import WHEN, require_conditions
from secure_platform.protect.decide import Decider, Decision, Place
from secure_platform.protect.fake import KIND, kind_for
from secure_platform.protect.ff1 import SMALLEST_DOMAIN, fits
from secure_platform.protect.formats import read_format
from secure_platform.protect.generalize import VALUES
from secure_platform.protect.hierarchies import read_hierarchy
from secure_platform.protect.persons import PERSONS
from secure_platform.protect.reversible import LUHN
from secure_platform.protect.scrub import TYPES
from secure_platform.protect.strength import full_name
from secure_platform.protect.transforms import TRANSFORMS
from secure_platform.protect.vary import PLACEHOLDERS, STEP, declared_days, least_step
from secure_platform.protect.vault import FORM, TTL, UNTIL, VAULT, last_day
from secure_platform.taxonomy.custom import custom_document

SUBJECT: Final = "subject"
_DIGITS: Final = "0123456789"
_REDACTED: Final = "REDACTED"
_COLUMNS: Final = ","
_MOST_STEPS: Final = 1 << 40
"""Far fewer than there are draws, so that none is more frequent."""
_BY_ROW: Final = frozenset({"shift_date", "noise", "shuffle", CONDITIONAL})


class Resolver:
    """Resolves the columns of one product.

    Args:
        product: Its contracts.
        decider: Follows references.
        as_of: Date at which ages are calculated.
        today: Tokens that are drawn end by it.
    """

    def __init__(self, product: Product, decider: Decider, as_of: date, today: date) -> None:
        self._product = product
        self._decider = decider
        self._as_of = as_of
        self._today = today

    def resolve(self, place: Place, decision: Decision) -> tuple[Mapping[str, Scalar], str]:
        """Parameters that need nothing further, and the domain of the key.

        Raises:
            PlanRefusedError: If the transform cannot be carried out on this column.
        """
        name = full_name(decision.protect)
        asked = decision.protect.params
        _check(place, asked, name)
        params = {**asked, **self._more(place, decision, name), **self._person(place, asked)}
        return MappingProxyType(params), self._key(place, decision, name)

    def _more(self, place: Place, decision: Decision, name: str) -> Mapping[str, Scalar]:
        """What the transform needs beside what was asked for."""
        asked, more = decision.protect.params, dict[str, Scalar]()
        match name:
            case "generalize.year" if "aggregate_age" in asked:
                more["earliest"] = self._as_of.year - int(asked["aggregate_age"])
            case "generalize.age":
                more["as_of"] = self._as_of.isoformat()
            case "generalize.hierarchy":
                found = read_hierarchy(self._product.directory, str(asked["file"]), int(asked["level"]))
                more[VALUES] = canonical.dumps(found).decode()
            case "replace":
                more["value"] = asked.get("value", f"[{decision.info_type or _REDACTED}]")
            case "shift_date":
                more["subject"] = self._subject(place).column.name
            case "noise" | "shuffle":
                more |= {"row": _row(place, name)} | (self._noise(place, asked) if name == "noise" else {})
            case "scrub":
                more[TYPES] = canonical.dumps(custom_document(self._product.directory)).decode()
            case "fake":
                more |= _made_up(place, decision)
            case "vault" | "fpe":
                more |= _format(place, decision) if name == "fpe" else _kept(asked, self._today)
        return more

    def _key(self, place: Place, decision: Decision, name: str) -> str:
        """The domain of the key, if the transform has one."""
        domain = self._domain(decision.root)
        match name:
            case "hash":
                return f"{name}:{self._product.name}.{decision.root}"
            case "shift_date":
                return f"{name}:{self._domain(self._decider.root(self._subject(place)))}"
            case "noise" | "shuffle":
                return f"{name}:{self._product.name}.{place}"
            case "fpe" | "fake" | "vault":
                return f"{name}:{domain}"
        return f"{CELL}/{domain}" if decision.protect.transform == "encrypt" else domain

    def _person(self, place: Place, asked: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Whose key a cell is under: the column that names the person, and the domain they are one of."""
        if asked.get("key") != SUBJECT:
            return {}
        if place.column.primary_key or place.column.reference is not None:
            raise PlanRefusedError(
                f"{place} is a key, or refers to one, and would differ from person to person",
                "Tokenize it, or encrypt it without `key: subject`.",
            )
        subject = self._subject(place)
        if not (subject.column.required or subject.column.primary_key):
            raise PlanRefusedError(
                f"{place} asks for its subject's key, and {subject} may be empty",
                "Say `required: true` of the column that names the person.",
            )
        return {SUBJECT: subject.column.name, PERSONS: self._domain(self._decider.root(subject))}

    def _noise(self, place: Place, asked: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The step, and whose equal numbers stay equal: row by row, their mean would tell what they were."""
        subjects = [column for column in place.contract.columns if column.subject_id]
        if len(subjects) != 1 or subjects == [place.column]:
            return {STEP: _step(place, asked)}
        return {STEP: _step(place, asked), SUBJECT: self._subject(place).column.name}

    def _domain(self, root: Place) -> str:
        return domain_of(self._product, root)

    def _subject(self, place: Place) -> Place:
        subjects = [Place(place.contract, column) for column in place.contract.columns if column.subject_id]
        if len(subjects) != 1 or subjects[0] == place:
            raise PlanRefusedError(
                f"{place} asks for shift_date, but {place.contract.dataset} has not exactly one subject id",
                "Mark the column that names the person with `subjectId: true`.",
            )
        subject = subjects[0]
        if subject.column.dtype not in TRANSFORMS["tokenize"].outputs:
            raise PlanRefusedError(
                f"{subject} is a {subject.column.logical_type} and cannot name a subject",
                "Use a text or integer column.",
            )
        return subject


def domain_of(product: Product, root: Place) -> str:
    """The token domain of a column that refers to no other."""
    # A contract's own domains have no dot, so that no two of these can be equal by accident.
    return root.column.token_domain or f"{product.name}.{root}"


def named_columns(params: Mapping[str, Scalar], name: str) -> list[str]:
    """The columns that a parameter of a plan names."""
    return str(params[name]).split(_COLUMNS) if name in params else []


def _row(place: Place, name: str) -> str:
    keys = place.contract.primary_key
    if not keys or place.column.name in keys:
        raise PlanRefusedError(
            f"{place} asks for {name}, and {place.contract.dataset} has no other column as its primary key",
            "Mark the column that names a row with `primaryKey: true`; the draw depends on it.",
        )
    return _COLUMNS.join(keys)


def _check(place: Place, asked: Mapping[str, Scalar], name: str) -> None:
    """Refuse parameters that the column cannot have."""
    for each in ("width", "amount", STEP, "lowest", "highest"):
        if place.column.logical_type == "integer" and float(asked.get(each, 0)) % 1:
            raise PlanRefusedError(f"{place} asks for part of an integer: {each}", "Use a whole number.")
    if name == "generalize.limits":
        _require_limits(place, asked)
    if name == "shift_date":
        _require_days(place, asked)
    by_row = name in _BY_ROW or asked.get("key") == SUBJECT
    if by_row and place.column not in place.contract.columns:
        raise PlanRefusedError(
            f"{place} asks for {name}, which goes by the row, inside JSON",
            "Make the value a column of its own, or use another transform.",
        )
    if name == VAULT and place.column not in place.contract.columns:
        raise PlanRefusedError(
            f"{place} asks for vault inside JSON, where the tokens of a person could not be erased",
            "Make the value a column of its own, or tokenize it.",
        )
    if name == CONDITIONAL:
        columns = {column.name: column.dtype for column in place.contract.columns}
        require_conditions(str(place), columns, str(asked[WHEN]))


def _require_limits(place: Place, asked: Mapping[str, Scalar]) -> None:
    limits = [float(asked[name]) for name in ("lowest", "highest") if name in asked]
    if not limits or limits != sorted(limits):
        raise PlanRefusedError(
            f"{place} asks for limits that leave no range", "Give `lowest`, `highest` or both, in this order."
        )


def _require_days(place: Place, asked: Mapping[str, Scalar]) -> None:
    try:
        declared_days(asked)
    except ValueError:
        raise PlanRefusedError(
            f"{place} names `{PLACEHOLDERS}` that are no days", "Write them as '2099-12-31,2999-12-31'."
        ) from None


def _step(place: Place, asked: Mapping[str, Scalar]) -> Scalar:
    """What the numbers become multiples of."""
    amount = float(asked["amount"])
    step = asked.get(STEP, 1 if place.column.logical_type == "integer" else least_step(amount))
    if not 1 <= amount / float(step) <= _MOST_STEPS:
        raise PlanRefusedError(
            f"{place} asks for noise in steps that are larger than its amount, or too many",
            f"Give a `{STEP}` that goes into the amount a hundred times or more.",
        )
    return step


def _made_up(place: Place, decision: Decision) -> dict[str, Scalar]:
    """What is made up, and for which country."""
    asked = decision.protect.params
    kind = asked.get(KIND, kind_for(decision.info_type))
    if kind is None:
        raise PlanRefusedError(
            f"{place} asks for fake, and nothing is made up for its info type",
            "Say what it is with `as:`, or use another transform; docs/protection.md lists what can be made.",
        )
    return {KIND: kind, "locale": asked.get("locale", "en_US")}


def _kept(asked: Mapping[str, Scalar], today: date) -> dict[str, Scalar]:
    """The format of the tokens, and the last day on which they can be looked up."""
    return {FORM: asked.get(FORM, "hex"), UNTIL: last_day(today, int(asked[TTL])).isoformat()}


def _format(place: Place, decision: Decision) -> dict[str, Scalar]:
    """What is encrypted in a value, from the pattern of the contract."""
    pattern = place.column.pattern
    if pattern is None or pattern != decision.root.column.pattern:
        raise PlanRefusedError(
            f"{place} asks for fpe, but has no pattern, or another one than its key",
            "Add `pattern`, for example '^[0-9]{16}$'; the format that is kept is read from it.",
        )
    found, luhn = read_format(pattern), decision.protect.params.get("checksum") == LUHN
    if found is None or (luhn and found.symbols != _DIGITS):
        raise PlanRefusedError(
            f"{place} asks for fpe, but its pattern leaves open which characters are encrypted",
            "Use one counted class of ASCII letters and digits, and separators: '^[0-9]{3}-[0-9]{6}$'.",
        )
    if not fits(len(found.symbols), found.shortest - luhn, found.longest - luhn):
        raise PlanRefusedError(
            f"{place} asks for fpe, but its pattern has less than {SMALLEST_DOMAIN:,} values or too many",
            "Tokenize, encrypt or generalize it: so few values could all be tried.",
        )
    return {"pattern": pattern, "symbols": found.symbols, "shortest": found.shortest}
