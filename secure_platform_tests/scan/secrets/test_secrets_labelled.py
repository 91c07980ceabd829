"""The labelled samples: as many secrets found as is claimed, and as few false ones."""

from pathlib import Path

import pytest

from benchmarks import secret_scan
from benchmarks.secret_scan import Score

PRECISION = 0.90
RECALL = 0.85


@pytest.fixture(scope="module")
def scores(shared_data: Path) -> tuple[Score, Score]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_TEST_DATA", str(shared_data))
        secret_scan.scores.cache_clear()
        return secret_scan.scores()


def test_against_the_reference_as_it_is(scores: tuple[Score, Score]) -> None:
    reference, _ = scores
    assert reference.met + reference.missed.total() > 500
    assert reference.precision >= PRECISION
    assert reference.recall >= RECALL


def test_against_a_reader_s_corrections(scores: tuple[Score, Score]) -> None:
    _, reader = scores
    assert reader.precision >= 0.97
    assert reader.recall >= 0.92


def test_a_rule_that_finds_is_right_more_often_than_wrong(scores: tuple[Score, Score]) -> None:
    _, reader = scores
    for rule, wrong in reader.wrong.items():
        assert reader.right[rule] + 1 >= wrong, rule
