"""When a deploy window is open."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.access.windows import read_window
from secure_platform.errors import UsageError

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "hours", "is_open"),
    [
        ("Mon-Fri 08:00-17:00 UTC", 7.99, False),
        ("Mon-Fri 08:00-17:00 UTC", 8, True),
        ("Mon-Fri 08:00-17:00 UTC", 16.99, True),
        ("Mon-Fri 08:00-17:00 UTC", 17, False),
        ("Mon-Fri 08:00-17:00 UTC", 5 * 24 + 12, False),
        ("Mon-Fri 08:00-17:00 Europe/Berlin", 7, True),
        ("Mon-Fri 08:00-17:00 Europe/Berlin", 16, False),
        ("Fri-Mon 08:00-17:00 UTC", 8, True),
        ("Fri-Mon 08:00-17:00 UTC", 24 + 8, False),
        ("Sun 22:00-02:00 UTC", 1, True),
        ("Sun 22:00-02:00 UTC", 2, False),
        ("Sun 22:00-02:00 UTC", -2, True),
        ("Mon 22:00-02:00 UTC", 1, False),
        ("Mon 00:00-00:00 UTC", 23.99, True),
        ("Mon 00:00-00:00 UTC", 24, False),
    ],
)
def test_a_window_is_open_from_its_first_minute_to_before_its_last(
    text: str, hours: float, *, is_open: bool
) -> None:
    assert (MONDAY + timedelta(hours=hours) in read_window(text)) is is_open


def test_summer_time_moves_with_the_wall_clock() -> None:
    window = read_window("Mon-Sun 08:00-09:00 Europe/Berlin")
    assert datetime(2026, 7, 1, 6, 30, tzinfo=UTC) in window
    assert datetime(2026, 12, 1, 6, 30, tzinfo=UTC) not in window


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mon-Fri 8:00-17:00 UTC",
        "Mon-Fri 08:00-24:00 UTC",
        "mon-fri 08:00-17:00 UTC",
        "Mon-Fri 08:00-17:00",
        "Mon-Fri 08:00-17:00 Europe/Atlantis",
        "Mon-Fri 08:00-17:00 ../../etc/passwd",
        "Mon-Fri 08:00-17:00 UTC\n",
        "Mon–Fri 08:00-17:00 UTC",  # noqa: RUF001 an en dash
    ],
)
def test_another_text_is_no_window(text: str) -> None:
    with pytest.raises(UsageError, match="deploy window"):
        read_window(text)


@given(minutes=st.integers(0, 7 * 24 * 60 - 1), day=st.sampled_from(["Mon", "Tue-Thu", "Sat-Sun", "Fri-Tue"]))
def test_every_moment_is_in_a_window_or_in_the_rest_of_the_day(minutes: int, day: str) -> None:
    moment = MONDAY + timedelta(minutes=minutes)
    day_time, night = read_window(f"{day} 06:00-18:00 UTC"), read_window(f"{day} 18:00-06:00 UTC")
    assert not (moment in day_time and moment in night)
    assert (moment in day_time or moment in night) is (
        moment - timedelta(hours=6) in read_window(f"{day} 00:00-00:00 UTC")
    )
