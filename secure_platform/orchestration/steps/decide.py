"""One way to decide on a release, for command line, web page and API: what was seen is what is signed.

The package is verified first, and the digest and production base that the caller saw must be those of now.
"""

from secure_platform.access.principals import Principal
from secure_platform.errors import GateRefusedError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.deploy import verified_package
from secure_platform.services import Services


def approve(
    services: Services, digest: str, principal: Principal, *, reason: str, base: str | None
) -> ReleaseRecord:
    """Approve a release against the production base that the principal saw.

    Raises:
        AccessDeniedError: If the policy does not let this principal approve it.
        GateRefusedError: If production changed since, or the release is no longer pending.
        IntegrityError: If the package is not what was signed.
    """
    record = services.gate.get(digest)
    with verified_package(services, record):
        present = services.target.base(record.product)
    if present != base:
        raise GateRefusedError(
            f"Production of {record.product} changed since {record.title} was looked at",
            "Look at the release again, then decide.",
        )
    return services.gate.approve(digest, principal, reason=reason, base=base)
