"""Dagster asks its context what a caller may do; ours asks the policy, for every caller and every owner.

Nobody may launch everything by a right of the deployment: what somebody may build is decided product by
product, so the UI greys out what belongs to a product that they may not build, and says what to do about it.
"""

import time
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from threading import Lock
from typing import Any, Final

from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext
from dagster._core.workspace.context import WorkspaceRequestContext as StockRequestContext
from dagster._core.workspace.permissions import LOCATION_SCOPED_PERMISSIONS, PermissionResult, Permissions
from starlette.requests import HTTPConnection

from secure_platform.access.principals import ANONYMOUS, Principal
from secure_platform.access.resources import Action, PlatformResource, Resource
from secure_platform.orchestration.stamp import backfill_stamp
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of
from secure_platform.web.rights import PERMISSIONS, UNKNOWN

REMEMBER_SECONDS: Final = 600.0
"""A page that is left open asks again and again: one denial of a kind is recorded in this time."""
MOST_REMEMBERED: Final = 10_000
PLATFORM: Final = PlatformResource()
_ALLOWED: Final = PermissionResult(enabled=True, disabled_reason=None)
_PER_PRODUCT: Final = PermissionResult(enabled=False, disabled_reason="It is decided product by product.")


class Rights:
    """What callers of Dagster's API may do, by the policy of one home.

    Args:
        services: The rooms.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self._denied: dict[tuple[str, str], float] = {}
        self._lock = Lock()

    def judge(self, principal: Principal, action: Action, resource: Resource = PLATFORM) -> PermissionResult:
        """Whether they may, and why not: to show it, never to do it."""
        if principal == ANONYMOUS:
            return PermissionResult(enabled=False, disabled_reason="Log in.")
        decision = self.services.policy.evaluate(principal, action, resource)
        reason = None if decision.allowed else " ".join(self.services.policy.explain(decision)[1:])
        return PermissionResult(decision.allowed, reason)

    def note_denial(self, principal: Principal, action: Action) -> None:
        """Record that somebody was refused something to read."""
        key, now = (principal.name, action.value), time.monotonic()
        with self._lock:
            recent = now - self._denied.get(key, -REMEMBER_SECONDS) < REMEMBER_SECONDS
            if not recent:
                if len(self._denied) >= MOST_REMEMBERED:
                    self._denied.clear()
                self._denied[key] = now
        if not recent:
            self.services.policy.decide(principal, action, PLATFORM)

    @cached_property
    def products(self) -> Mapping[str, Resource]:
        """Every product as the policy sees it."""
        return {name: named_resource(self.services, name) for name in self.services.products}

    @cached_property
    def owned(self) -> Mapping[str, frozenset[str]]:
        """Owner → the products that have something of theirs."""
        owned: dict[str, set[str]] = {}
        for name, product in self.services.products.items():
            for owner in (product.owner, *(contract.owner for contract in product.contracts.values())):
                owned.setdefault(owner, set()).add(name)
        return {owner: frozenset(names) for owner, names in owned.items()}


class PolicyRequestContext(StockRequestContext):
    """What one caller may do with the workspace."""

    def __init__(self, *, principal: Principal, address: str | None, rights: Rights, **stock: Any) -> None:
        super().__init__(read_only=False, **stock)
        self.address = address
        self.rights = rights
        self._principal = principal
        self._judged: dict[tuple[Action, str], PermissionResult] = {}

    @property
    def principal(self) -> Principal:
        """Who is calling, and how they come."""
        return self._principal

    def may(self, action: Action) -> bool:
        """Whether the caller has a right on the platform; that they have not is recorded."""
        allowed = self._judge(action).enabled
        if not allowed and self._principal != ANONYMOUS:
            self.rights.note_denial(self._principal, action)
        return allowed

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        """Rights of the deployment; nobody may build everything by one of them."""
        return {permission: self._permission(permission, lambda: _PER_PRODUCT) for permission in Permissions}

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        """Rights on a code location: building is one for who may build all that is in it."""
        del location_name
        build = self._build({*self.rights.products, ""})
        return {
            permission: self._permission(permission, lambda: build)
            for permission in LOCATION_SCOPED_PERMISSIONS
        }

    def permissions_for_owner(self, *, owner: str) -> Mapping[str, PermissionResult]:
        """Rights on what has this owner."""
        build = self._build(self.rights.owned.get(owner, frozenset({""})))
        return {permission: self._permission(permission, lambda: build) for permission in Permissions}

    def viewer_has_any_owner_definition_permissions(self) -> bool:
        """Whether it is worth asking for owners."""
        return any(self._build({name}).enabled for name in self.rights.products)

    @property
    def show_instance_config(self) -> bool:
        """Whether the caller sees `dagster.yaml`."""
        return self.may(Action.INSTANCE_READ)

    def get_viewer_tags(self) -> dict[str, str]:
        """Who asked for a backfill, for the daemon that launches its runs."""
        return backfill_stamp(self.rights.services.keys, self._principal.name)

    def get_reporting_user_tags(self) -> dict[str, str]:
        """Who reported an event."""
        return self.get_viewer_tags()

    def reload_code_location(self, name: str) -> BaseWorkspaceRequestContext:
        """Reload it, and answer as the same caller."""
        self.process_context.reload_code_location(name)
        return self._renewed()

    def reload_workspace(self) -> BaseWorkspaceRequestContext:
        """Reload all, and answer as the same caller."""
        self.process_context.reload_workspace()
        return self._renewed()

    def _renewed(self) -> BaseWorkspaceRequestContext:
        renewed: BaseWorkspaceRequestContext = self.process_context.create_request_context(self.source)
        return renewed

    def _permission(self, permission: Permissions, build: Callable[[], PermissionResult]) -> PermissionResult:
        rule = PERMISSIONS.get(permission, UNKNOWN)
        if not isinstance(rule, Action):
            return PermissionResult(enabled=False, disabled_reason=rule)
        return build() if rule is Action.BUILD else self._judge(rule)

    def _build(self, products: Collection[str]) -> PermissionResult:
        """Whether the caller may build all of these; the empty name is what belongs to no product."""
        results = [self._judge(Action.BUILD, name) for name in sorted(products)]
        return next((result for result in results if not result.enabled), _ALLOWED)

    def _judge(self, action: Action, product: str = "") -> PermissionResult:
        known = self._judged.get((action, product))
        if known is None:
            resource = self.rights.products[product] if product else PLATFORM
            known = self._judged[action, product] = self.rights.judge(self._principal, action, resource)
        return known


class PolicyProcessContext(WorkspaceProcessContext):
    """Makes the context of every request that of its caller.

    Args:
        rights: By the policy of the home.
        stock: What Dagster's needs.
    """

    def __init__(self, *, rights: Rights, **stock: Any) -> None:
        self._rights = rights
        super().__init__(**stock)

    def create_request_context(self, source: Any | None = None) -> PolicyRequestContext:
        """The context of a caller; of nobody, if nobody sent a request."""
        connection = source if isinstance(source, HTTPConnection) else None
        return PolicyRequestContext(
            principal=ANONYMOUS if connection is None else principal_of(connection),
            address=connection.client.host if connection and connection.client else None,
            rights=self._rights,
            instance=self._instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
        )


def process_context(request: HTTPConnection) -> PolicyProcessContext:
    """The workspace of the server that answers this request.

    Launch through `process_context(request).create_request_context(request)`: the coordinator then knows who.
    """
    context: PolicyProcessContext = request.app.state.process_context
    return context
