"""What an operation of the API is given: who asks, and a body that was read strictly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, Resource
from secure_platform.contract.product import Product
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.standing import resource as release_resource
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.orchestration.steps.query import ROW_LIMIT
from secure_platform.services import Services

LARGEST_BODY: Final = 256 << 10
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class BuildRequest(_Body):
    """What to build; where its source is, the server's settings say."""

    product: str


class ApprovalRequest(_Body):
    """An approval of exactly what was seen: the release in the path, to replace this production."""

    base: Digest | None
    reason: str
    ticket: str | None = None


class DecisionRequest(_Body):
    """A rejection or withdrawal."""

    reason: str
    ticket: str | None = None


class RollbackRequest(_Body):
    """The number of the release to leave, which must still be in production."""

    leave: Annotated[int, Field(ge=1)]
    reason: str


class RevealRequest(_Body):
    """What stands for values: cells of a column, or of a value in JSON, or all that a released table has."""

    table: str
    column: str
    purpose: str
    release: Annotated[int, Field(ge=1)] | None = None
    cells: list[str] | None = None


class QueryRequest(_Body):
    """One SELECT over the tables in production."""

    sql: str
    purpose: str | None = None
    limit: Annotated[int, Field(ge=1, le=ROW_LIMIT)] = 100


@dataclass(frozen=True)
class Call:
    """An operation that is asked for.

    Attributes:
        principal: Who asks, and how they come.
        request: Its path and headers.
        body: Read and checked; None where the operation has none.
    """

    services: Services
    principal: Principal
    request: Request
    body: Any

    @property
    def product(self) -> Product:
        """The product in the path."""
        return self.services.product(self.request.path_params["product"])

    @property
    def release(self) -> ReleaseRecord:
        """The release in the path.

        Raises:
            AccessDeniedError: If the caller may not read it.
        """
        record = self.services.gate.get(_digest(self.request.path_params["digest"]))
        self.may_read(Action.RELEASE_READ, release_resource(record, ()))
        return record

    def may_read(self, action: Action, resource: Resource) -> None:
        """Refuse who may not read; only refusals are recorded.

        Raises:
            AccessDeniedError: Naming the rules.
        """
        if not self.services.policy.evaluate(self.principal, action, resource).allowed:
            self.services.policy.require(self.principal, action, resource)

    def is_shown(self, product: Product) -> bool:
        """Whether the caller may read the releases of a product."""
        asked = named_resource(self.services, product.name)
        return self.services.policy.evaluate(self.principal, Action.RELEASE_READ, asked).allowed


@dataclass(frozen=True)
class Operation:
    """A row of the table.

    Attributes:
        name: Its `operationId`.
        answer: Name of the schema of its answer; with `[]` a list of them.
        body: What its request carries.
        query: Query parameters, with their descriptions.
        headers: Request headers, with their descriptions.
        most_bytes: What its body may have.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    handler: Callable[[Call], Any]
    summary: str
    answer: str
    body: type[BaseModel] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    most_bytes: int = LARGEST_BODY


def _digest(text: str) -> str:
    return text if text.startswith("sha256:") else f"sha256:{text}"
