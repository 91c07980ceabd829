"""k and l are counted over what leaves raw, so it has to be equal where a person or a value is.

Who comes out different in each of their rows would count as several people, and a value that does as several
values: a class of one would look like one of many.
"""

from secure_platform.errors import PlanRefusedError
from secure_platform.protect.own_rows import keeps_persons
from secure_platform.protect.persons import PERSONS
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.strength import strengths
from secure_platform.protect.suppression import Suppression


def require_countable(plan: DatasetPlan, rule: Suppression) -> None:
    """Refuse k and l that would be counted by what is different from row to row.

    Raises:
        PlanRefusedError: If one person could look like several, or one sensitive value.
    """
    if rule.subject is not None and not keeps_persons(plan, rule.subject):
        raise PlanRefusedError(
            f"{plan.dataset} is to have k subjects in each class, and {rule.subject} would not be "
            "the same in all rows of a person",
            "Tokenize the column that names the subject.",
        )
    for column in plan.outputs:
        if column.column in rule.sensitive and not _equal_stay_equal(column):
            raise PlanRefusedError(
                f"{plan.dataset}.{column.column} is to have l values in each class, and equal ones would "
                "come out different",
                "Use a transform that is deterministic (docs/protection.md lists them), or ask for no l.",
            )


def _equal_stay_equal(column: ColumnPlan) -> bool:
    return PERSONS not in column.params and strengths().named(column.full_name).deterministic
