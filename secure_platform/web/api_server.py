"""How a request to Dagster's API runs: checked once, within limits, and its errors tell nothing foreign."""

from collections.abc import Sequence
from functools import lru_cache
from inspect import isawaitable
from typing import Any, Final

from dagster_graphql.implementation.utils import ErrorCapture
from dagster_webserver.webserver import DagsterWebserver
from graphene import Schema
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLFormattedError,
    OperationDefinitionNode,
    OperationType,
    execute,
    parse,
    validate,
)
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from secure_platform.errors import SecurePlatformError
from secure_platform.web.graphql import guarded_schema
from secure_platform.web.guard import is_json
from secure_platform.web.limits import MOST_CHARACTERS, Limits
from secure_platform.web.permissions import PolicyProcessContext, PolicyRequestContext

MOST_DOCUMENTS: Final = 256
BAD_REQUEST: Final = 400
METHOD_NOT_ALLOWED: Final = 405
SERVER_ERROR: Final = 500


class GuardedApi(DagsterWebserver[PolicyProcessContext, PolicyRequestContext]):
    """The stock server with a guarded API."""

    def __init__(self, process_context: PolicyProcessContext, prefix: str) -> None:
        # The UI sends the same few documents again and again.
        self._document = lru_cache(MOST_DOCUMENTS)(self._checked)
        super().__init__(process_context, app_path_prefix=prefix)

    def build_graphql_schema(self) -> Schema:
        """Every field with its guard."""
        return guarded_schema()

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Dagster's, for what is a request at all."""
        if request.method == "POST":
            try:
                shaped = isinstance(await request.json(), dict)
            except (ValueError, RecursionError):
                shaped = False
            if not shaped:
                return _failed([{"message": "The request is not one JSON object."}], BAD_REQUEST)
        response: Response = await super().graphql_http_endpoint(request)
        return response

    async def execute_graphql_request(
        self, request: Request, query: Any, variables: Any, operation_name: Any
    ) -> JSONResponse:
        """Run the operation, unless it changes something and is not a JSON POST."""
        problem = _misshapen(query, variables, operation_name)
        if problem:
            return _failed([{"message": problem}], BAD_REQUEST)
        document = self._document(query)
        if not isinstance(document, DocumentNode):
            return _failed(self.handle_graphql_errors(document), BAD_REQUEST)
        if not (request.method == "POST" and is_json(request.headers)) and _may_change(document):
            message = "Mutations are accepted as POST with Content-Type application/json only."
            return _failed([{"message": message}], METHOD_NOT_ALLOWED)
        return await super().execute_graphql_request(request, query, variables, operation_name)

    async def gen_graphql_response(
        self,
        request_context: PolicyRequestContext,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> JSONResponse:
        """Run a document that was checked."""
        document = self._document(query)
        assert isinstance(document, DocumentNode)  # noqa: S101 - checked before the thread was taken
        unexpected: list[Exception] = []
        with ErrorCapture.watch(unexpected.append):
            result = execute(
                self._graphene_schema.graphql_schema,
                document,
                context_value=request_context,
                variable_values=variables,
                operation_name=operation_name,
            )
            if isawaitable(result):
                result = await result
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = self.handle_graphql_errors(result.errors)
        return JSONResponse(answer, status_code=_status(result.errors or (), unexpected))

    async def execute_graphql_subscription(
        self,
        websocket: WebSocket,
        operation_id: str,
        query: Any,
        variables: Any,
        operation_name: Any,
    ) -> tuple[Any, GraphQLFormattedError | None]:
        """Subscribe, unless the document asks for too much."""
        problem = _misshapen(query, variables, operation_name)
        if problem:
            return None, {"message": problem}
        document = self._document(query)
        if not isinstance(document, DocumentNode):
            return None, self.handle_graphql_errors(document)[0]
        answered: tuple[Any, GraphQLFormattedError | None] = await super().execute_graphql_subscription(
            websocket, operation_id, query, variables, operation_name
        )
        return answered

    def handle_graphql_errors(self, errors: Sequence[GraphQLError]) -> list[GraphQLFormattedError]:
        """Our own errors and GraphQL's in full, others by their class."""
        return [_shown(error) for error in errors]

    def _checked(self, query: str) -> DocumentNode | tuple[GraphQLError, ...]:
        """The document, or why it is refused."""
        try:
            document = parse(query, max_source_length=MOST_CHARACTERS)
            schema = self._graphene_schema.graphql_schema
            # The rules of GraphQL take long over what is too large.
            problems = validate(schema, document, rules=(Limits,)) or validate(schema, document)
        except GraphQLError as error:
            return (error,)
        except RecursionError:
            return (GraphQLError("The document is nested too deeply."),)
        return tuple(problems) or document


def _misshapen(query: Any, variables: Any, operation_name: Any) -> str | None:
    if not isinstance(query, str):
        return "The query is not a text."
    if variables is not None and not isinstance(variables, dict):
        return "The variables are not an object."
    if operation_name is not None and not isinstance(operation_name, str):
        return "The name of the operation is not a text."
    return None


def _may_change(document: DocumentNode) -> bool:
    """Whether the document holds anything but queries."""
    return any(
        isinstance(definition, OperationDefinitionNode) and definition.operation is not OperationType.QUERY
        for definition in document.definitions
    )


def _shown(error: GraphQLError) -> GraphQLFormattedError:
    shown = error.formatted
    foreign = error.original_error
    if foreign is not None and not isinstance(foreign, SecurePlatformError | GraphQLError):
        shown["message"] = f"The server failed with {type(foreign).__name__}."
    return shown


def _failed(errors: Sequence[GraphQLFormattedError], status: int) -> JSONResponse:
    return JSONResponse({"data": None, "errors": errors}, status_code=status)


def _status(errors: Sequence[GraphQLError], unexpected: Sequence[Exception]) -> int:
    """As the stock server says it; a refused field is neither the server's failure nor the request's."""
    if unexpected or any(
        error.original_error and not isinstance(error.original_error, GraphQLError) for error in errors
    ):
        return SERVER_ERROR
    return BAD_REQUEST if any(error.original_error is None and not error.path for error in errors) else 200
