"""A run says who requested it, and only this platform can say so.

The stamp is the principal's name and a MAC over it and the run. Whatever a client writes into the tags of a
run is no valid stamp, and the stamp of one run is not valid for another.
"""

from collections.abc import Mapping
from typing import Final

from dagster import DagsterRun
from dagster._core.storage.tags import BACKFILL_ID_TAG

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.keys.ring import KeyRing

RESERVED: Final = "secure/"
PRINCIPAL_TAG: Final = "secure/principal"
MAC_TAG: Final = "secure/principal_mac"
TRACE_TAG: Final = "secure/traceparent"
"""Where in a trace the run was asked for; it decides nothing."""
_PURPOSE: Final = "run-stamp"
_BACKFILL: Final = "backfill"


def stamp(keys: KeyRing, run: DagsterRun, principal: str) -> dict[str, str]:
    """The tags that record this principal as the one who asked for this run."""
    return {PRINCIPAL_TAG: principal, MAC_TAG: keys.mac(_PURPOSE, _message(principal, run))}


def stamped(keys: KeyRing, run: DagsterRun) -> str | None:
    """Name of the principal who asked for the run; None if it says nothing.

    Raises:
        IntegrityError: If what it says was not said by this platform about this run.
    """
    claimed, mac = run.tags.get(PRINCIPAL_TAG), run.tags.get(MAC_TAG)
    if claimed is None and mac is None:
        return None
    if claimed is None or mac is None or not keys.verify_mac(_PURPOSE, _message(claimed, run), mac):
        raise IntegrityError(
            f"The run {run.run_id} claims a requester that this platform did not record",
            "Launch it again; look who can write to Dagster's database.",
        )
    return claimed


def backfill_stamp(keys: KeyRing, principal: str) -> dict[str, str]:
    """The tags of a backfill that this principal asked for; the daemon launches its runs later."""
    message = canonical.dumps([_BACKFILL, principal])
    return {PRINCIPAL_TAG: principal, MAC_TAG: keys.mac(_PURPOSE, message)}


def backfill_stamped(keys: KeyRing, tags: Mapping[str, str]) -> str | None:
    """Name of the principal who asked for the backfill with these tags; None if they do not prove one."""
    claimed, mac = tags.get(PRINCIPAL_TAG), tags.get(MAC_TAG)
    if claimed is None or mac is None:
        return None
    return claimed if keys.verify_mac(_PURPOSE, canonical.dumps([_BACKFILL, claimed]), mac) else None


def is_reserved(tag: str) -> bool:
    """Whether only the platform says this about a run; a run of a backfill is asked for by who began it."""
    return tag.startswith(RESERVED) or tag == BACKFILL_ID_TAG


def _message(principal: str, run: DagsterRun) -> bytes:
    return canonical.dumps([run.run_id, run.job_name, principal])
