"""A decision is about what lies there: the contracts in the package, and what is not in production."""

from collections.abc import Callable

import pytest
from built_home import Built
from sqlalchemy import update

from secure_platform.control.tables import release as release_table
from secure_platform.errors import AccessDeniedError, GateRefusedError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.decide import approve, reject, withdraw
from secure_platform.orchestration.steps.deploy import deploy, verified_package
from secure_platform.orchestration.steps.package import package
from secure_platform.services import SCHEDULER


@pytest.mark.parametrize("column", ["approver_groups", "second_approver_groups"])
def test_approver_groups_that_the_contracts_do_not_name_are_found(built: Built, column: str) -> None:
    services = built.services
    with services.database.write() as connection:
        connection.execute(update(release_table).values({column: ["friends"]}))
    with (
        pytest.raises(GateRefusedError, match="another approver groups"),
        verified_package(services, built.newest()),
    ):
        pass


@pytest.mark.parametrize(("builder", "requester"), [(SCHEDULER, "dana"), ("tess", "tess"), ("dana", "dana")])
def test_nobody_approves_what_they_asked_for_because_a_schedule_built_it_again(
    built: Built, builder: str, requester: str
) -> None:
    services, first = built.services, built.newest()
    services.principals.change("dana", roles=["data_engineer", "data_steward"], actor="admin")
    withdraw(services, first.digest, built.person("dana"), reason="Somebody else shall have asked for it.")
    again = package(StepContext(services, built.product, "again", builder, built.source)).record
    assert (again.input_key, again.requested_by) == (first.input_key, requester)
    if requester == "dana":
        with pytest.raises(AccessDeniedError, match="forbid-self-approval"):
            approve(services, again.digest, built.person("dana"), reason="x", base=again.base)


@pytest.mark.parametrize("decide", [reject, withdraw])
def test_what_is_in_production_is_not_closed_even_if_its_deployment_was_not_recorded(
    built: Built, decide: Callable[..., ReleaseRecord]
) -> None:
    built.approve()
    services = built.services
    deployed = deploy(services, built.product).record
    with services.database.write() as connection:
        connection.execute(update(release_table).values(state="approved"))
    with pytest.raises(GateRefusedError, match="is in production"):
        decide(built.services, deployed.digest, built.person("sam"), reason="x")
