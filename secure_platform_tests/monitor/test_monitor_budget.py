import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.monitor.budget import within_budget


def test_a_quiet_day_is_quiet_however_much_is_watched() -> None:
    rng = np.random.default_rng(1)
    days = [within_budget(rng.random(500).tolist()).any() for _ in range(400)]
    assert np.mean(days) <= 0.08


def test_what_is_really_wrong_is_told_beside_a_thousand_quiet_ones() -> None:
    quiet = np.random.default_rng(2).random(1_000).tolist()
    allowed = within_budget([1e-9, *quiet])
    assert allowed[0]
    assert allowed.sum() <= 2


def test_a_lone_judgement_keeps_its_own_bound() -> None:
    assert within_budget([0.003]).tolist() == [True]
    assert within_budget([0.5]).tolist() == [False]
    assert within_budget([]).tolist() == []


@given(st.lists(st.floats(0, 1), max_size=30))
def test_nothing_less_likely_is_held_back_while_something_likelier_speaks(chances: list[float]) -> None:
    allowed = within_budget(chances)
    told = [chance for chance, speaks in zip(chances, allowed, strict=True) if speaks]
    held = [chance for chance, speaks in zip(chances, allowed, strict=True) if not speaks]
    assert not told or not held or max(told) <= min(held)
