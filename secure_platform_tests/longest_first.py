"""Files whose tests start whole processes come first; a pytest plugin named in pyproject.toml.

With several test processes, a long file at the end would leave the others idle.
"""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole Dagster processes, then what is slow, then the rest; otherwise the order stays."""
    places: dict[str, int] = {}
    for item in items:
        file = item.nodeid.partition("::")[0]
        places[file] = min(places.get(file, 2), _place(item))
    items.sort(key=lambda item: places[item.nodeid.partition("::")[0]])


def _place(item: pytest.Item) -> int:
    if item.get_closest_marker("system"):
        return 0
    return 1 if item.get_closest_marker("slow") else 2
