"""A home that was made by an earlier release keeps what it knew, and gets what it lacks when it is opened."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from secure_platform import homes
from secure_platform.access.principals import Principals
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import MIGRATIONS, ControlDatabase
from secure_platform.control.tables import metadata, profile
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.files import private_directory, write_private
from secure_platform.homes import INITIALISED, ROOMS, initialise
from secure_platform.keys.providers.choice import prepare_provider
from secure_platform.monitor.history import MetricsHistory
from secure_platform.monitor.incident import MONITOR
from secure_platform.services import ADMINISTRATOR, DEPLOYER, SCHEDULER, Services
from secure_platform.settings import Settings, load_settings

WHEN = datetime(2026, 1, 5, 4, tzinfo=UTC)
_NAMES = ("snapshot_id", "product", "dataset", "zone", "name", "value")
METRIC = sa.table("metric", *map(sa.column, _NAMES), sa.column("recorded_at", sa.DateTime(timezone=True)))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home as the first release left it, with the row counts of a dataset."""
    settings = load_settings(home=private_directory(tmp_path / "home"))
    for room in ROOMS:
        private_directory(settings.home / room)
    services = Services(settings)
    with services.database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        kept = dict(zip(_NAMES, ("s", "p", "stays", "raw", "rows", 40.0), strict=True))
        connection.execute(sa.insert(METRIC).values(**kept, recorded_at=WHEN))
    prepare_provider(settings.keys, settings.home / "keys")
    services.keys.initialise()
    services.principals.add(SCHEDULER, kind="service", roles=("scheduler",), actor=SCHEDULER)
    services.principals.add(DEPLOYER, kind="service", roles=("pipeline",), actor=SCHEDULER)
    services.principals.add(ADMINISTRATOR, kind="user", roles=("admin",), actor=SCHEDULER)
    services.audit.append("home.initialise", actor=SCHEDULER, subject=settings.environment)
    write_private(settings.home / INITIALISED, b"1\n")
    return settings


def require_current(settings: Settings) -> None:
    services = Services(settings)
    monitor = services.monitor()
    assert (monitor.kind, set(monitor.roles)) == ("service", {"monitor"})
    (record,) = services.metrics.before("p", "stays", "raw")
    assert (record.snapshot_id, record.numbers, record.recorded_at) == ("s", {"rows": 40.0}, WHEN)
    assert services.incidents.all() == []
    with services.database.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
    services.audit.verify()


def test_a_home_of_the_first_release_is_brought_up_to_date_once(settings: Settings) -> None:
    assert not initialise(settings)
    require_current(settings)
    size = Services(settings).audit.size()
    assert not initialise(settings)
    assert Services(settings).audit.size() == size


@pytest.mark.parametrize(
    ("room", "name"),
    [
        (ControlDatabase, "migrate"),
        (MetricsHistory, "adopt"),
        (Principals, "add"),
        (AuditLog, "checkpoint"),
        (homes, "replace_private"),
    ],
)
@pytest.mark.parametrize("afterwards", [False, True])
def test_who_dies_on_the_way_leaves_it_to_the_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, room: object, name: str, *, afterwards: bool
) -> None:
    genuine = getattr(room, name)

    def dies(*given: object, **named: object) -> None:
        if afterwards:
            genuine(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(room, name, dies)
        with pytest.raises(KeyboardInterrupt):
            initialise(settings)
    initialise(settings)
    require_current(settings)


def test_what_a_writer_left_that_died_is_cleared_away(settings: Settings) -> None:
    left = settings.home / f".{INITIALISED}.0123"
    left.write_bytes(b"00")
    initialise(settings)
    assert not left.exists()


def test_a_principal_that_an_administrator_disabled_stays_so(settings: Settings) -> None:
    services = Services(settings)
    services.principals.add(MONITOR, kind="service", roles=("monitor",), actor=ADMINISTRATOR)
    services.principals.disable(MONITOR, actor=ADMINISTRATOR)
    initialise(settings)
    assert not Services(settings).monitor().active


def test_an_upgrade_that_is_played_again_seals_nothing_anew(settings: Settings) -> None:
    initialise(settings)
    with Services(settings).database.write() as connection:
        connection.execute(sa.update(profile).values(numbers={"rows": 1.0}, seal=None))
    (settings.home / INITIALISED).write_bytes(b"1\n")
    initialise(settings)
    with pytest.raises(IntegrityError, match="metrics history"):
        Services(settings).metrics.before("p", "stays", "raw")


def test_a_process_of_the_earlier_release_that_runs_on_writes_no_record_without_a_seal(
    settings: Settings,
) -> None:
    services = Services(settings)
    initialise(settings)
    new = {"sequence", "previous", "content", "seal"}
    with services.database.read() as connection:
        row = {**connection.execute(sa.select(profile)).one()._asdict(), "snapshot_id": "t"}
    old = sa.table(
        "profile", *(sa.column(each.name, each.type) for each in profile.c if each.name not in new)
    )
    with (
        pytest.raises(sa.exc.IntegrityError, match="stop this process"),
        services.database.write() as connection,
    ):
        connection.execute(
            sa.insert(old).values({name: value for name, value in row.items() if name not in new})
        )
    require_current(settings)


def test_a_home_of_a_later_release_is_left_alone(settings: Settings) -> None:
    (settings.home / INITIALISED).write_bytes(b"9999\n")
    with pytest.raises(UsageError, match="later version"):
        initialise(settings)


def test_the_newest_revision_is_that_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == ControlDatabase.newest_revision()
