"""Characterization: a Dagster that renames or bypasses what this server stands on fails here first."""

import inspect

from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.workspace import context as workspace
from dagster._core.workspace.permissions import PermissionResult, Permissions
from dagster_graphql.implementation import utils
from dagster_graphql.schema.errors import GraphenePythonError, GrapheneUnauthorizedError
from dagster_webserver.graphql import GraphQLServer
from dagster_webserver.webserver import DagsterWebserver


def source(of: object) -> str:
    return inspect.getsource(of)  # type: ignore[arg-type]  # Classes and functions.


def test_every_request_of_the_api_goes_through_the_hooks_that_we_override() -> None:
    signature = inspect.signature(GraphQLServer.execute_graphql_request)
    assert list(signature.parameters) == ["self", "request", "query", "variables", "operation_name"]
    assert "self.execute_graphql_request(" in source(GraphQLServer.graphql_http_endpoint)
    assert "self.gen_graphql_response(" in source(GraphQLServer.graphql_execution_thread)
    assert "self.execute_graphql_subscription(" in source(GraphQLServer.graphql_ws_endpoint)
    assert "self.handle_graphql_errors(" in source(GraphQLServer.execute_graphql_subscription)
    assert "self.build_graphql_schema()" in source(GraphQLServer.__init__)
    assert "self.build_routes()" in source(GraphQLServer.create_asgi_app)
    assert "self.build_middleware()" in source(GraphQLServer.create_asgi_app)
    assert "create_request_context(conn)" in source(DagsterWebserver._make_request_context)


def test_dagster_asks_its_context_what_a_caller_may_do() -> None:
    assert PermissionResult._fields == ("enabled", "disabled_reason")
    assert "context.has_permission(permission)" in source(utils.assert_permission)
    assert "permissions_for_owner(owner=owner)" in source(
        workspace.BaseWorkspaceRequestContext.has_permission_for_owners
    )
    assert "permissions_for_location(location_name=location_name)" in source(
        workspace.BaseWorkspaceRequestContext.has_permission_for_location
    )
    for name in ("show_instance_config", "get_viewer_tags", "viewer_has_any_owner_definition_permissions"):
        assert hasattr(workspace.BaseWorkspaceRequestContext, name)
    assert len(Permissions) == 21


def test_every_run_is_submitted_to_the_coordinator_with_its_context() -> None:
    assert SubmitRunContext._fields == ("dagster_run", "workspace")
    assert list(inspect.signature(QueuedRunCoordinator.submit_run).parameters) == ["self", "context"]


def test_errors_of_the_api_carry_our_text() -> None:
    assert GrapheneUnauthorizedError("Ours").message == "Ours"  # type: ignore[no-untyped-call]  # Dagster's has no annotation.
    assert list(inspect.signature(GraphenePythonError.__init__).parameters) == ["self", "error_info"]
