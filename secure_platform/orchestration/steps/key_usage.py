"""What in a home could not be read without one version of a key, counted before that version is removed.

The count is taken from the records themselves, whatever else was recorded about them. Nothing is opened, and
nothing is trusted.
A version that something on legal hold may need is not destroyed; if that cannot be told, it may need it.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

from secure_platform.access.own_records import rows_needing
from secure_platform.access.principals import Principal
from secure_platform.errors import GateRefusedError, IntegrityError
from secure_platform.keys.catalog import CELL, DATA, MAC, SIGN, TOKEN, KeyVersion, domain_of_name
from secure_platform.keys.signing import keyid_of
from secure_platform.keys.wrapped import WrappedDataKey
from secure_platform.orchestration.steps.plans import UNTOLD_BY, Plans
from secure_platform.orchestration.steps.protect import plan_digest
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

ROOMS: Final = {"lake": "snapshots", "releases": "releases", "warehouse": "databases in production"}
_WRAPPED: Final = re.compile(rb"c3Bkaw[A-Za-z0-9+/]+={0,2}")
_MAC: Final = re.compile(rb"\bm([1-9][0-9]{0,8}):[0-9a-f]{64}\b")


def destroy(services: Services, caller: Principal, name: str, version: int) -> KeyVersion:
    """Destroy a version of a key, unless something on legal hold needs it.

    Raises:
        AccessDeniedError: If the policy does not let the caller.
        GateRefusedError: If it is on hold, or was changed meanwhile.
        UsageError: If there is no such version.
    """
    unheld = partial(require_unheld, services)
    with services.holds.erasing():
        return services.custody.destroy(caller, name, version, require_unheld=unheld)


def require_unheld(services: Services, about: KeyVersion) -> None:
    """Refuse if something on legal hold needs a version of a key.

    Raises:
        GateRefusedError: Naming the holds.
    """
    plans, holds = Plans(services), services.holds.all()
    needing = {name for name in {each.product for each in holds} if _is_made_by(services, plans, name, about)}
    held = [f"{each.product} ({each.matter})" for each in holds if each.product in needing]
    if held:
        raise GateRefusedError(
            f"{about.title} is needed by what is on legal hold: {', '.join(dict.fromkeys(held))}",
            "Leave it disabled until the hold is lifted: it makes and opens nothing.",
        )


def usage_of(services: Services, about: KeyVersion) -> dict[str, int]:
    """Description of what needs the version → how many; empty if nothing does, or it cannot be counted."""
    found: dict[str, int] = {}
    for room, what in ROOMS.items():
        count = sum(_needs(record, about) for record in _records(services.settings.home / room))
        if count:
            found[f"records of {what}"] = count
    if about.kind == DATA and (kept := services.local_secrets.sealed_with(about.version)):
        found["secrets of this home"] = kept
    if about.kind == TOKEN and (
        kept := services.keys.stored_tokens.count(domain_of_name(about.name), about.version)
    ):
        found["stored tokens"] = kept
    rows = rows_needing(services.database, about.kind, about.version)
    return found | {f"rows of {table}": count for table, count in rows.items()}


def _is_made_by(services: Services, plans: Plans, product: str, about: KeyVersion) -> bool:
    """Whether anything that is kept of a product may be made by a key, in whatever version."""
    if about.kind not in {TOKEN, CELL}:
        return True
    try:
        known = plans.of(services.product(product))
    except UNTOLD_BY:
        return True
    made = {(dataset, plan_digest(each)) for plan in known for dataset, each in plan.datasets.items()}
    stored = services.store.stored(product, Zone.PROTECTED)
    domain = domain_of_name(about.name)
    return any((each.dataset, each.provenance.get("plan")) not in made for each in stored) or any(
        domain in _texts(plan.to_json()) for plan in known
    )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a document."""
    match value:
        case str():
            yield value
        case dict():
            yield from chain.from_iterable(map(_texts, value.values()))
        case list():
            yield from chain.from_iterable(map(_texts, value))


def _records(room: Path) -> Iterator[bytes]:
    """Every JSON document in a directory; databases and Parquet files begin differently."""
    for path in room.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(1) == b"{":
                    yield file.read()


def _needs(content: bytes, about: KeyVersion) -> bool:
    match about.kind:
        case kind if kind == DATA:
            return any(_wraps(text.decode(), about.version) for text in _WRAPPED.findall(content))
        case kind if kind == MAC:
            return str(about.version).encode() in _MAC.findall(content)
        case kind if kind == SIGN and about.public_key is not None:
            return keyid_of(about.public_key).encode() in content
        case _:
            return False


def _wraps(text: str, version: int) -> bool:
    try:
        return WrappedDataKey.parse(text).version == version
    except IntegrityError:
        return False
