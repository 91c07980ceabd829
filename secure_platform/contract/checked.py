"""A section of a product's documents is read with a strict model: nothing unknown, missing or mistyped."""

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from secure_platform.contract.place import Place, shown, suggestion
from secure_platform.errors import ContractError

Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], body: Any, place: Place, known: Iterable[str]) -> Model:
    """The body as the model reads it.

    Args:
        model: Forbids what it does not know, and hides input in its errors.
        body: As the YAML reader gave it.
        place: Where it stands.
        known: Attributes that may have been meant by one that is not known.

    Raises:
        ContractError: Naming the first attribute that is refused.
    """
    try:
        return model.model_validate_json(json.dumps(body), strict=True)
    except ValidationError as error:
        raise _refusal(error, place, known) from None


def _refusal(error: ValidationError, place: Place, known: Iterable[str]) -> ContractError:
    """The first problem, from the location and kind only: pydantic's text may repeat what was written."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "attributes"
    if first["type"] == "extra_forbidden":
        return place.refusal(f"has the unknown attribute {shown(where)}", suggestion(where, known))
    if first["type"] == "missing":
        return place.refusal(f"lacks the attribute {shown(where)}", "Add it under `attributes`.")
    return place.refusal(
        f"has an attribute {shown(where)} that is refused", f"{first['msg'].removeprefix('Value error, ')}."
    )
