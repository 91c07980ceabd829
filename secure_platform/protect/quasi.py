"""Where a profile asks for k, every dataset that tells of people says by what somebody could be recognised.

Without quasi-identifiers there are no classes, and so no k: that is refused and not passed over. Rows that
go with those of a dataset that has some are of people who do not stand out there.
"""

from collections.abc import Collection, Mapping
from typing import Final

from secure_platform.errors import PlanRefusedError
from secure_platform.protect.plan import DatasetPlan
from secure_platform.protect.profile import Profile
from secure_platform.taxonomy.classification import Classification

_TELLS_NOTHING: Final = frozenset({"tokenize", "hash", "redact", "replace"})


def require_quasi(datasets: Mapping[str, DatasetPlan], profile: Profile) -> None:
    """Refuse what the profile wants k for, and what has no quasi-identifier.

    What is public, or a token, needs none.

    Raises:
        PlanRefusedError: If there is such a dataset.
    """
    if profile.least_k == 1:
        return
    marked = {name for name, plan in datasets.items() if plan.suppression and plan.suppression.quasi}
    pointing = {
        name: {column.reference.dataset for column in plan.columns if column.reference}
        for name, plan in datasets.items()
    }
    lacking = [
        name
        for name, plan in datasets.items()
        if _tells(plan) and name not in marked and not leads_to(name, pointing, marked)
    ]
    if lacking:
        raise PlanRefusedError(
            f"{profile.name} asks for k={profile.least_k}, "
            f"and no quasi-identifier leaves {', '.join(lacking)}",
            "Mark the columns by which somebody could be recognised with `quasiIdentifier: true`;"
            " what tells of nobody is `classification: public`.",
        )


def leads_to(start: str, pointing: Mapping[str, Collection[str]], marked: Collection[str]) -> bool:
    """Whether a dataset points, along any number of references, at one that is marked."""
    seen, ahead = {start}, set(pointing[start])
    while ahead := ahead - seen:
        if ahead & set(marked):
            return True
        seen |= ahead
        ahead = {name for each in ahead for name in pointing[each]}
    return False


def _tells(plan: DatasetPlan) -> bool:
    return any(
        column.input_classification > Classification.PUBLIC and column.transform not in _TELLS_NOTHING
        for column in plan.outputs
    )
