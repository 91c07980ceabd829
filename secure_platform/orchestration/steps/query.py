"""One way to read production, for command line, web page and API: for a purpose, by the policy, audited.

The record says who asked, for what purpose and how many rows they got; of the statement, only its keyed hash.
"""

import re
from dataclasses import replace
from typing import Final

import polars as pl

from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.services import Services

ROW_LIMIT: Final = 1_000
_PURPOSE: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def read_production(
    services: Services, product: str, sql: str, *, caller: Principal, purpose: str | None, limit: int
) -> pl.DataFrame:
    """Run one SELECT over the tables of a product that are in production.

    Args:
        services: The rooms.
        product: Name of the product.
        sql: The statement.
        caller: Who asks.
        purpose: What they need it for, one of the product's purposes; None if they did not say.
        limit: Most rows to return.

    Raises:
        AccessDeniedError: If the policy does not let them read it, or not for this purpose.
        UsageError: If there is no such product, nothing is deployed, or the statement cannot be run.
        IntegrityError: If production is not what was published last.
    """
    known = services.product(product)
    asking = with_purpose(caller, purpose)
    services.policy.require(asking, Action.PRODUCTION_QUERY, product_resource(services, known))
    return services.target.query(product, sql, limit=limit, actor=caller.name, purpose=purpose)


def with_purpose(caller: Principal, purpose: str | None) -> Principal:
    """The caller with their purpose.

    Raises:
        UsageError: If no product could have such a purpose.
    """
    if purpose is not None and not _PURPOSE.fullmatch(purpose):
        raise UsageError(
            f"{purpose[:64]!r} cannot be a purpose",
            "Name one of the product's purposes.",
        )
    return replace(caller, circumstances=replace(caller.circumstances, purpose=purpose))
