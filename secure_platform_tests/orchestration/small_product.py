"""A product of a few small datasets, in a home of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from secure_platform import canonical
from secure_platform.contract.product import COMPONENT, load_product
from secure_platform.homes import initialise
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.services import Services
from secure_platform.settings import load_settings


def prop(name: str, kind: str = "string", level: str = "internal", **more: Any) -> dict[str, Any]:
    """One property of a contract; names in camel case that are custom properties are written as such."""
    custom = {
        key: more.pop(key) for key in ("infoType", "protect", "quasiIdentifier", "subjectId") if key in more
    }
    listed = [{"property": key, "value": value} for key, value in custom.items()]
    return {"name": name, "logicalType": kind, "classification": level, "customProperties": listed, **more}


def product_context(
    folder: Path, profile: str, contracts: Sequence[Mapping[str, Any]], frames: Mapping[str, pl.DataFrame]
) -> StepContext:
    """A context in which the datasets can be pulled and protected."""
    product = folder / "defs" / "small"
    (product / "contracts").mkdir(parents=True)
    attributes = {
        "name": "small",
        "owner": "team:test",
        "description": "x",
        "profile": profile,
        "models": ["none"],
    }
    (product / "defs.yaml").write_bytes(canonical.dumps({"type": COMPONENT, "attributes": attributes}))
    source = folder / "source"
    source.mkdir()
    for body in contracts:
        (product / "contracts" / f"{body['name']}.odcs.yaml").write_bytes(canonical.dumps(body))
    for name, frame in frames.items():
        frame.write_csv(source / f"{name}.csv")
    settings = load_settings(home=folder / "home")
    initialise(settings)
    return StepContext(Services(settings), load_product(product), "run", "service:scheduler", source)
