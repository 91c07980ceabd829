"""No asset without owner and classification: what breaks this does not load.

Applied once, at the root, to every asset of the code location, whether it came from a contract or not.
"""

import dagster as dg

from secure_platform.errors import ContractError
from secure_platform.orchestration.presentation import CLASSIFICATION_TAG
from secure_platform.taxonomy.classification import Classification


def govern(definitions: dg.Definitions) -> dg.Definitions:
    """The same definitions, if every asset has an owner and a classification.

    Raises:
        ContractError: Naming the first asset that lacks one.
    """
    for spec in definitions.resolve_all_asset_specs():
        _require(spec)
    return definitions


def _require(spec: dg.AssetSpec) -> None:
    name = spec.key.to_user_string()
    if not spec.owners:
        raise ContractError(f"The asset {name} has no owner", "Give its contract or spec an owner.")
    if spec.tags.get(CLASSIFICATION_TAG) not in {level.label for level in Classification}:
        raise ContractError(
            f"The asset {name} has no classification",
            f"Tag it {CLASSIFICATION_TAG}: public, internal, confidential or restricted.",
        )
