"""Release → production: deploy verifies everything itself, whoever launched it.

The package is copied first and every check is made on the copy that is then loaded. Deployments and rollbacks
of one product wait for each other, from the look at production to the record of what was done to it.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from secure_platform.access.principals import Principal
from secure_platform.contract.place import Place
from secure_platform.contract.product import Product, approver_levels
from secure_platform.contract.terms import read_roles
from secure_platform.control.database import utc_now
from secure_platform.control.locks import WORK_SECONDS, file_lock
from secure_platform.deploy.production import Production
from secure_platform.errors import (
    AlreadyRolledBackError,
    GateRefusedError,
    IntegrityError,
    SecurePlatformError,
)
from secure_platform.files import private_directory
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.notify.spans import stage
from secure_platform.orchestration.steps.payload import require_rows
from secure_platform.orchestration.steps.tell import tell
from secure_platform.protect.changes import ended_waivers
from secure_platform.release.layout import release_directory
from secure_platform.release.verify import SignedManifest, VerifiedRelease, signed_manifest, verified
from secure_platform.services import Services

REGISTERED: Final = ("product", "number", "environment", "classification", "requested_by", "run_id", "base")


@dataclass(frozen=True)
class Deployed:
    """What is in production, and whether it was there before."""

    production: Production
    record: ReleaseRecord
    reused: bool


def deploy(services: Services, product: Product) -> Deployed:
    """Deploy the product's approved release, or find that production already holds the newest one.

    Raises:
        GateRefusedError: If no release is approved, an approval does not bind this digest and this base, or
            a waiver that the release was made under has ended.
        AccessDeniedError: If the deployer may not deploy.
        IntegrityError: If the package is not what was signed.
    """
    deployer = services.deployer()
    with one_at_a_time(services, product.name):
        return _deploy(services, product, deployer)


def _deploy(services: Services, product: Product, deployer: Principal) -> Deployed:
    current = reconcile(services, product.name, actor=deployer.name)
    record = _candidate(services, product.name)
    if record is None:
        return _keep(services, product.name, current, deployer)
    base = current.digest if current else None
    services.gate.deployable(record.digest, base=base, deployer=deployer)
    try:
        production = _publish(services, record, base, deployer)
    except SecurePlatformError:
        failed = services.gate.record(record.digest, ReleaseState.DEPLOY_FAILED, actor=deployer.name)
        tell(services, "deploy.failed", failed)
        raise
    deployed = services.gate.record(record.digest, ReleaseState.DEPLOYED, actor=deployer.name)
    services.audit.checkpoint()
    tell(services, "release.deployed", deployed)
    return Deployed(production, deployed, reused=False)


def reconcile(services: Services, product: str, *, actor: str) -> ReleaseRecord | None:
    """Bring the recorded states in line with production, which a process may have changed before it died.

    Production's pointer is the truth: the release in it is deployed, and a newer one that is recorded as
    deployed was rolled back.

    Returns:
        The release in production.
    """
    # Read before the pointer: a deployment that ends meanwhile must not look as if it had been rolled back.
    records = services.gate.list(product)
    base = services.target.base(product)
    if base is None:
        return None
    services.target.settle(product, actor=actor)
    current = services.gate.get(base)
    if current.state is not ReleaseState.DEPLOYED:
        current = services.gate.record(base, ReleaseState.DEPLOYED, actor=actor)
        tell(services, "release.deployed", current)
    for record in _rolled_back(records, current):
        gone = services.gate.record(record.digest, ReleaseState.ROLLED_BACK, actor=actor)
        tell(services, "release.rolled_back", gone)
    return current


def _rolled_back(records: Sequence[ReleaseRecord], current: ReleaseRecord) -> list[ReleaseRecord]:
    """Newer releases that are recorded as deployed although production was rolled back from them."""
    deployed = (record for record in records if record.state is ReleaseState.DEPLOYED)
    return [record for record in deployed if record.number > current.number]


def _candidate(services: Services, product: str) -> ReleaseRecord | None:
    """The newest release that is approved, or whose deployment failed half way."""
    ready = {ReleaseState.APPROVED, ReleaseState.DEPLOY_FAILED}
    candidates = [record for record in services.gate.list(product) if record.state in ready]
    return max(candidates, key=lambda record: record.number, default=None)


def _keep(services: Services, product: str, current: ReleaseRecord | None, deployer: Principal) -> Deployed:
    """Production as it is; its database is built again from the same release if it was damaged."""
    if current is None:
        raise GateRefusedError(
            f"No release of {product} is approved", f"Approve one: secure-platform release list {product}."
        )
    try:
        production = services.target.current(product)
    except IntegrityError:
        services.gate.authorise_restore(current.digest, deployer)
        return Deployed(_publish(services, current, current.digest, deployer), current, reused=False)
    if production is None:
        raise IntegrityError(f"Production of {product} vanished", "Deploy again.")
    return Deployed(production, current, reused=True)


@stage("deploy")
def _publish(services: Services, record: ReleaseRecord, base: str | None, deployer: Principal) -> Production:
    with verified_package(services, record) as release:
        if record.digest != base:
            # Approvals may have been withdrawn while the package was copied and checked.
            services.gate.deployable(record.digest, base=base, deployer=deployer)
        _require_waivers(release, record)
        return services.target.publish(release, expected_base=base, actor=deployer.name)


def in_production(services: Services, product: str) -> ReleaseRecord:
    """The release that a rollback leaves when its caller names none.

    A rollback that died before it was recorded counts as not done: repeating it does not roll back further.

    Raises:
        GateRefusedError: If nothing is in production.
    """
    base = services.target.base(product)
    if base is None:
        raise GateRefusedError(f"Nothing of {product} is in production", "Approve and deploy a release.")
    current = services.gate.get(base)
    return max(
        [current, *_rolled_back(services.gate.list(product), current)], key=lambda record: record.number
    )


def rollback(services: Services, seen: ReleaseRecord, principal: Principal, *, reason: str) -> Deployed:
    """Roll back to the release before the one that the caller saw in production.

    The policy is asked before anything is read, and again with the signed decision; the old package is
    verified again as for a deployment.

    Raises:
        AccessDeniedError: If the principal may not roll back.
        AlreadyRolledBackError: If production went back from that release before.
        GateRefusedError: If production is another release by now, there is no earlier one, or a waiver that
            it was made under has ended.
        IntegrityError: If the old package is not what was signed.
    """
    services.gate.require_may_roll_back(seen.digest, principal)
    with one_at_a_time(services, seen.product):
        return _rollback(services, seen, principal, reason)


def _rollback(services: Services, seen: ReleaseRecord, principal: Principal, reason: str) -> Deployed:
    current = reconcile(services, seen.product, actor=principal.name)
    _require_still_there(current, services.gate.get(seen.digest))
    previous = services.target.history(seen.product)[0].previous
    if previous is None:
        raise GateRefusedError(
            f"{seen.product} has no earlier release to go back to", "Deploy a corrected release instead."
        )
    earlier = services.gate.get(previous)
    services.gate.authorise_rollback(earlier.digest, principal, reason=reason, base=seen.digest)
    with verified_package(services, earlier) as release:
        _require_waivers(release, earlier)
        restored = services.target.rollback(
            seen.product, release, expected_base=seen.digest, actor=principal.name
        )
    left = services.gate.record(seen.digest, ReleaseState.ROLLED_BACK, actor=principal.name)
    services.audit.checkpoint()
    tell(services, "release.rolled_back", left)
    return Deployed(restored, earlier, reused=False)


def ended_in(release: SignedManifest) -> list[str]:
    """The columns of a release that were let out under a waiver that has ended, each with its last day."""
    return ended_waivers(release.contents.plan.document["datasets"], utc_now().date())


def _require_waivers(release: SignedManifest, record: ReleaseRecord) -> None:
    ended = ended_in(release)
    if ended:
        raise GateRefusedError(
            f"{record.title} holds what a waiver let out that has ended: {', '.join(ended)}",
            "Build a new release: protect the column as the profile requires, or have it waived anew.",
        )


def _require_still_there(current: ReleaseRecord | None, seen: ReleaseRecord) -> None:
    if current is not None and current.digest == seen.digest:
        return
    there = f"release {current.number} is in production" if current else "nothing is in production"
    if seen.state is ReleaseState.ROLLED_BACK:
        raise AlreadyRolledBackError(
            f"{seen.title} was rolled back already: {there}", "Roll back again only to leave that one too."
        )
    raise GateRefusedError(
        f"{seen.title} is not in production: {there}",
        f"Look at what is there now: secure-platform release list {seen.product}",
    )


def one_at_a_time(
    services: Services, product: str, *, timeout_seconds: float = WORK_SECONDS
) -> AbstractContextManager[None]:
    """A lock: deployments and rollbacks of a product wait for each other, and for any other holder."""
    warehouse = private_directory(services.settings.home / "warehouse")
    return file_lock(
        warehouse / f".{product}.lock",
        holder=f"a deployment or rollback of {product}",
        timeout_seconds=timeout_seconds,
    )


@stage("compare")
def matches_release(services: Services, production: Production) -> dict[str, Any]:
    """Compare what readers get with what was approved, table by table.

    Raises:
        IntegrityError: If they differ.
    """
    record = services.gate.get(production.release)
    with verified_package(services, record) as release:
        services.target.verify(record.product, release.manifest)
    return {"release": record.digest, "number": record.number, "rows": dict(production.rows)}


def _approver_levels(release: SignedManifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who approves the release, as the contracts in its manifest say."""
    return approver_levels(
        role
        for name, contract in release.contents.contracts.items()
        for role in read_roles(contract.document.get("roles", ()), Place(name, "roles"))
    )


@contextmanager
def verified_package(services: Services, record: ReleaseRecord) -> Iterator[VerifiedRelease]:
    """The package of a registered release, copied and verified, and the one that was registered.

    Raises:
        IntegrityError: If the package is not what was signed.
        GateRefusedError: If it is another package, or the gate's record says other things about it, or its
            rows were deleted when somebody was erased.
    """
    require_rows(services, record)
    directory = release_directory(services.releases, record.product, record.number)
    with verified(directory, services.keys, services.temporary) as release:
        _require_registered(release, record)
        yield release


def signed_package(services: Services, record: ReleaseRecord) -> SignedManifest:
    """The signed manifest of a registered release, for display; its payload is not read.

    Raises:
        IntegrityError: If the manifest is not what was signed.
        GateRefusedError: If it is another package, or the gate's record says other things about it.
    """
    directory = release_directory(services.releases, record.product, record.number)
    signed = signed_manifest(directory, services.keys, services.temporary)
    _require_registered(signed, record)
    return signed


def _require_registered(release: SignedManifest, record: ReleaseRecord) -> None:
    differing = [
        name
        for name in ("digest", *REGISTERED)
        if getattr(release if name == "digest" else release.contents, name) != getattr(record, name)
    ]
    if _approver_levels(release) != (record.approver_groups, record.second_approver_groups):
        differing.append("approver groups")
    if differing:
        raise GateRefusedError(
            f"The package of {record.product} release {record.number} is not the one that was registered:"
            f" it has another {', '.join(differing)}",
            "Restore the package, or build a new release.",
        )
