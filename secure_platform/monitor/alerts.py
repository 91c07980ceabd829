"""Who is notified of an incident, and when: computed from the incidents and the earlier notices.

Nothing else is remembered: a process that is killed or cannot write sends the notice the next time, and no
notice is sent twice. People are notified when an incident opens, gets worse or is settled. Quiet hours,
maintenance and the budget of warnings only delay notices; if the incident is over by then, none is sent.
Notices about security, and about what blocks deployments, are never delayed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from secure_platform.access.windows import read_window
from secure_platform.contract.product import Product
from secure_platform.control.database import utc_now
from secure_platform.monitor.incident import Incident
from secure_platform.monitor.incidents import Incidents
from secure_platform.notify.channels import wants_alert
from secure_platform.notify.notice import Alert
from secure_platform.notify.outbox import Notices
from secure_platform.notify.queued import Alerted
from secure_platform.site import AlertSettings, ChannelSettings, Event

Held: TypeAlias = Literal["quiet hours", "maintenance", "budget"]
SETTLED: Final = "settled"
SHOWN: Final = 5
_REMEMBERED: Final = timedelta(days=7)
"""How long after an incident was settled it is still told."""


@dataclass(frozen=True)
class Due:
    """An alert that a channel is to be given.

    Attributes:
        held: What puts it off; None if it is given now.
    """

    incident: Incident
    event: Event
    occasion: str
    channel: str
    held: Held | None


class Alerts:
    """Tells of incidents, through the queue of notices.

    Args:
        incidents: What there is to tell.
        notices: Takes it, and knows what was told.
        channels: Who may be told.
        settings: What is told, and when.
        products: The products, whose owners and maintenance windows count.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        incidents: Incidents,
        notices: Notices,
        channels: Sequence[ChannelSettings],
        settings: AlertSettings,
        products: Callable[[], Mapping[str, Product]],
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._incidents = incidents
        self._notices = notices
        self._channels = channels
        self._settings = settings
        self._products = products
        self._clock = clock

    def tell(self) -> list[Due]:
        """Queue every alert that is due and not put off; returns those."""
        given = [each for each in self.due() if each.held is None]
        for each in given:
            self._notices.alert(
                each.event,
                self._alert(each.incident),
                product=each.incident.product,
                release=each.incident.release,
                occasion=each.occasion,
                channel=each.channel,
            )
        return given

    def due(self) -> list[Due]:
        """Every alert that was not given yet, and what puts it off; nothing is sent."""
        now = self._clock()
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        incidents = [each for each in self._incidents.all() if _is_news(each, now)] if self._channels else []
        if not incidents:
            return []
        told = self._notices.alerted(min(today, *(each.opened_at for each in incidents)))
        warned = _warned(each for each in told if each.at >= today)
        found: list[Due] = []
        for incident in incidents:
            for due in self._due(incident, told, now, warned.get(incident.product, set())):
                found.append(due)
                if due.held is None and incident.severity == "warn":
                    warned.setdefault(incident.product, set()).add(incident.incident_id)
        return found

    def warned_today(self) -> dict[str, int]:
        """Product → how many incidents that only warn were told today; more than the budget wait."""
        today = self._clock().replace(hour=0, minute=0, second=0, microsecond=0)
        told = iter(self._notices.alerted(today))
        return {product: len(incidents) for product, incidents in _warned(told).items()}

    def _due(
        self, incident: Incident, told: Sequence[Alerted], now: datetime, warned: set[str]
    ) -> Iterator[Due]:
        before = [each for each in told if each.alert.incident == incident.incident_id]
        product = self._products().get(incident.product)
        for channel in self._channels:
            heard = {each.subject.rpartition("/")[2] for each in before if each.channel == channel.name}
            event, occasion = _news(incident, heard)
            owner = product.owner if product else ""
            wanted = wants_alert(channel, event, incident.product, incident.severity, owner)
            if occasion not in heard and wanted and (event != "incident.settled" or heard):
                held = self._held(incident, channel, product, now, warned)
                yield Due(incident, event, occasion, channel.name, held)

    def _held(
        self,
        incident: Incident,
        channel: ChannelSettings,
        product: Product | None,
        now: datetime,
        warned: set[str],
    ) -> Held | None:
        if incident.lasts or not incident.unsettled:
            return None
        if product and any(now in read_window(text) for text in product.maintenance_windows):
            return "maintenance"
        if any(now in read_window(text) for text in channel.quiet):
            return "quiet hours"
        spent = len(warned - {incident.incident_id}) >= self._settings.warnings_per_day
        return "budget" if incident.severity == "warn" and spent else None

    def _alert(self, incident: Incident) -> Alert:
        runbook = self._settings.runbook
        signals = incident.waiting or incident.signals
        return Alert(
            incident=incident.incident_id,
            kind=incident.kind,
            severity=incident.severity,
            signals=tuple(signal.title for signal in signals[:SHOWN]),
            runbook=runbook.format(product=incident.product, kind=incident.kind) if runbook else None,
        )


def _is_news(incident: Incident, now: datetime) -> bool:
    """Whether there may be something to tell: somebody who acknowledged it knows of it."""
    if incident.closed_at is not None:
        return now - incident.closed_at < _REMEMBERED
    return incident.state == "open"


def _news(incident: Incident, heard: set[str]) -> tuple[Event, str]:
    """What a channel that has heard so much is told next, and of which occasion."""
    if not incident.unsettled:
        return "incident.settled", SETTLED
    return ("incident.worse" if heard else "incident.opened"), str(incident.revision)


def _warned(told: Iterator[Alerted]) -> dict[str, set[str]]:
    """Product → incidents that only warned and were told."""
    warned: dict[str, set[str]] = {}
    for each in told:
        if each.alert.severity == "warn":
            warned.setdefault(each.product, set()).add(each.alert.incident)
    return warned
