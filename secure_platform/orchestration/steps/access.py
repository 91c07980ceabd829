"""Unusual use of a product's data becomes a security incident that names the user as the audit log does."""

from collections import defaultdict
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from secure_platform.monitor.access import Looked
from secure_platform.monitor.habits import Unusual
from secure_platform.monitor.incident import ACCESS, Sighting
from secure_platform.orchestration.steps.observe import product_terms
from secure_platform.services import Services


def look_at_access(services: Services) -> Looked:
    """Report what is new and unusual in the log as incidents; then keep what was learned.

    Reported before it is kept: a process that is killed in between finds it again, which changes nothing.
    """
    looked = services.access_watch.look(
        [each.name for each in services.principals.list()],
        clocks(services),
        lambda product: {point for point, _ in services.incidents.feedback(product).right},
    )
    by_product: defaultdict[str, list[Unusual]] = defaultdict(list)
    for each in looked.found:
        by_product[each.product].append(each)
    for product, found in by_product.items():
        # One by one: they may be of one signal.
        for each in found:
            services.incidents.report(product, [_sighting(each)])
    services.access_watch.keep(looked)
    return looked


def clocks(services: Services) -> Mapping[str, ZoneInfo]:
    """Product → the time zone whose days and hours count."""
    return {
        name: ZoneInfo(product_terms(product).monitor.timezone) for name, product in services.products.items()
    }


def _sighting(each: Unusual) -> Sighting:
    return Sighting(ACCESS, each.who, each.check, each.point, each.state, metrics=(each.note,))
