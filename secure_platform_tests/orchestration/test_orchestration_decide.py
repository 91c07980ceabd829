"""A decision is about what lies there: the contracts in the package, and what is not in production."""

from collections.abc import Callable

import pytest
from built_home import Built
from sqlalchemy import update

from secure_platform.control.tables import release as release_table
from secure_platform.errors import GateRefusedError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.decide import reject, withdraw
from secure_platform.orchestration.steps.deploy import deploy, verified_package


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
