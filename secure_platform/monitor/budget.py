"""A product has few false alarms a day, however much of it is watched.

This is Benjamini and Hochberg's control. Of the alarms of one product and one day, on average no more than
the given share are false; if nothing is wrong, a day with any alarm at all is as rare as that share. The
largest deviations are kept.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

FALSE_SHARE: Final = 0.05
"""Of the alarms of one product and day, how many may be false."""


def within_budget(chances: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Which of a product's judgements of a day may speak.

    Args:
        chances: Of every judgement of the day, those that passed included.
    """
    count = len(chances)
    values = np.asarray(chances, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    below = np.flatnonzero(values[order] <= FALSE_SHARE * np.arange(1, count + 1) / max(count, 1))
    allowed = np.zeros(count, dtype=bool)
    if len(below):
        allowed[order[: below[-1] + 1]] = True
    return allowed
