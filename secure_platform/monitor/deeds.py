"""What the audit log says about the use of a product's data: who, when and how much, never what was read.

A deed is something that an entry says somebody did: a query of production and the rows it returned, values
that were revealed, a zone that was scanned, a decision of the policy. People are named by the log's keyed
hash.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from secure_platform.access.allowance import AMOUNT, AllowanceSpentError
from secure_platform.audit.reader import Entry
from secure_platform.taxonomy.classification import Classification

Count: TypeAlias = Literal["queries", "rows", "revealed", "scans", "denied", "asked", "limited", "entered"]

PLATFORM: Final = "platform"
"""Stands for the product where somebody was denied something of the platform itself."""
SENSITIVE: Final = Classification.CONFIDENTIAL
"""From here on a denied attempt counts, and who reads for the first time is told."""
_ENTERED: Final = frozenset({"production_query", "data_reveal"})


@dataclass(frozen=True)
class Deed:
    """Something that somebody did.

    Attributes:
        who: The log's keyed hash of them.
        count: What it adds to.
        at: When, aware.
        amount: How much it adds.
        what: The action that was denied; else empty.
    """

    who: str
    product: str
    count: Count
    at: datetime
    amount: int = 1
    what: str = ""


def deeds(entry: Entry) -> Iterator[Deed]:
    """What an entry tells."""
    body = entry.body
    read = _READERS.get(body["action"])
    if read is None:
        return
    at = datetime.fromisoformat(body["time"])
    for product, count, amount, what in read(body):
        yield Deed(body["actor"], product, count, at, amount, what)


_Told: TypeAlias = Iterator[tuple[str, Count, int, str]]


def _query(body: Mapping[str, Any]) -> _Told:
    if body["phase"] == "intent":
        yield body["subject"], "queries", 1, ""
    elif body["phase"] == "done":
        yield body["subject"], "rows", int(body["detail"]["rows"]), ""


def _reveal(body: Mapping[str, Any]) -> _Told:
    product = body["subject"].partition("/")[0]
    detail = body["detail"]
    if body["phase"] == "intent":
        yield product, "asked", int(detail[AMOUNT]), ""
    elif body["phase"] == "done":
        yield product, "revealed", int(detail["revealed"]), ""
    elif detail.get("error") == AllowanceSpentError.__name__:
        yield product, "limited", 1, ""


def _scan(body: Mapping[str, Any]) -> _Told:
    if body["phase"] == "intent":
        yield body["subject"].partition("/")[0], "scans", 1, ""


def _decision(body: Mapping[str, Any]) -> _Told:
    detail = body["detail"]
    resource = detail["question"]["entities"][-1]
    product = _product(resource)
    level = resource["attrs"].get("classification", SENSITIVE)
    if level < SENSITIVE:
        return
    if not detail["allowed"]:
        yield product, "denied", 1, detail["action"]
    elif detail["action"] in _ENTERED:
        yield product, "entered", 1, ""


def _product(resource: Mapping[str, Any]) -> str:
    for each in (resource["uid"], *resource["parents"]):
        if each["type"] == "Product":
            return str(each["id"])
    return PLATFORM


_READERS: Final = {
    "query.run": _query,
    "data.reveal": _reveal,
    "data.scan": _scan,
    "policy.decide": _decision,
}
