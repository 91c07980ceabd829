"""Which data there is, what becomes of every column and why, where it goes, and what protects it there."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.resources import Action
from secure_platform.contract.model import Column, Contract
from secure_platform.contract.product import Product, approver_levels
from secure_platform.errors import PlanRefusedError, UsageError
from secure_platform.orchestration.data_map import data_map
from secure_platform.orchestration.steps.named import refusals
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.protect.plan import ColumnPlan
from secure_platform.services import Services
from secure_platform.store.snapshot import Snapshot, Zone
from secure_platform.web.pages.desk import Desk
from secure_platform.web.pages.lineage import column_graph, flow_graph, product_graph
from secure_platform.web.problems import status_of
from secure_platform.web.routes import OwnRoute

MOST_FOUND: Final = 200


@dataclass(frozen=True)
class Found:
    """A column of a contract with what becomes of it."""

    product: str
    dataset: str
    column: Column
    plan: ColumnPlan

    def says(self, words: Sequence[str]) -> bool:
        """Whether all words occur in what is known about it."""
        known = " ".join(
            filter(
                None,
                (
                    self.product,
                    self.dataset,
                    self.column.name,
                    self.column.description,
                    self.column.classification.label,
                    self.plan.info_type,
                    self.plan.full_name,
                    self.plan.reason,
                ),
            )
        ).casefold()
        return all(word in known for word in words)


class Catalogue(Desk):
    """Products, datasets, columns."""

    def products(self, request: Request) -> Response:
        """Every product, or the columns in which the searched words occur."""
        query, refused = request.query_params.get("q", "")[:200].strip(), refusals(self.services)
        found = self._search(query.casefold().split(), refused) if query else []
        return self.show(
            request,
            "data_map.html",
            query=query,
            products=list(self.services.products.values()),
            refused=refused,
            found=found[:MOST_FOUND],
            more=max(0, len(found) - MOST_FOUND),
        )

    def product(self, request: Request) -> Response:
        """One product: lineage, flows and encryption boundaries, places and keys."""
        product = self.services.product(request.path_params["product"])
        try:
            plan = current_plan(product, self.services.keys)
        except PlanRefusedError as refused:
            return self._refused(request, product, refused)
        drawn = data_map(product, plan)
        return self.show(
            request,
            "product.html",
            product=product,
            lineage=product_graph(product, self._marts(product)),
            flows=flow_graph(drawn),
            map=drawn,
        )

    def table(self, request: Request) -> Response:
        """One dataset or mart: every column, what becomes of it, and where it comes from."""
        product = self.services.product(request.path_params["product"])
        if refused := refusals(self.services).get(product.name):
            return self._refused(request, product, refused)
        name = request.path_params["table"]
        if name in product.contracts:
            return self._dataset(request, product, product.contracts[name])
        if name in product.models:
            return self._mart(request, product, name)
        raise UsageError(f"{product.name} has no such table", "See the data map of the product.")

    def _refused(self, request: Request, product: Product, refused: PlanRefusedError) -> Response:
        """What is wrong with it, to people; programs are told in JSON as of everything that is refused."""
        if "text/html" not in request.headers.get("accept", ""):
            raise refused
        return self.show(request, "refused.html", status=status_of(refused), product=product, refused=refused)

    def _dataset(self, request: Request, product: Product, contract: Contract) -> Response:
        columns = [found for found in self._columns(product) if found.dataset == contract.dataset]
        levels = approver_levels(contract.roles)
        return self.show(
            request, "dataset.html", product=product, contract=contract, levels=levels, columns=columns
        )

    def _mart(self, request: Request, product: Product, name: str) -> Response:
        snapshot = self.services.store.described(product.name, name, Zone.MARTS)
        plans = {(found.dataset, found.column.name): found.plan for found in self._columns(product)}
        return self.show(
            request,
            "mart.html",
            product=product,
            name=name,
            snapshot=snapshot,
            lineage=column_graph(product, name, snapshot, plans) if snapshot else None,
        )

    def _marts(self, product: Product) -> Mapping[str, Snapshot | None]:
        return {
            model: self.services.store.described(product.name, model, Zone.MARTS) for model in product.models
        }

    def _search(self, words: Sequence[str], refused: Container[str]) -> list[Found]:
        return [
            found
            for product in self.services.products.values()
            if product.name not in refused
            for found in self._columns(product)
            if found.says(words)
        ]

    def _columns(self, product: Product) -> Iterator[Found]:
        plan = current_plan(product, self.services.keys)
        for dataset, contract in product.contracts.items():
            plans = {column.column: column for column in plan.datasets[dataset].columns}
            for column in contract.columns:
                yield Found(product.name, dataset, column, plans[column.name])


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Catalogue(services)
    return [
        room.get("/data-map", room.products, Action.UI_READ),
        room.get("/data-map/{product}", room.product, Action.UI_READ),
        room.get("/data-map/{product}/{table}", room.table, Action.UI_READ),
    ]
