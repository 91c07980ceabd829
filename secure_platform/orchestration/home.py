"""A home is whole before anything uses it: the platform's state and Dagster's are created under one lock.

Dagster takes a second to import. Every command asks for a whole home, and few need an instance.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from secure_platform.homes import initialise
from secure_platform.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

CONFIG: Final = Path(__file__).parent / "dagster.yaml"


def prepare(settings: Settings) -> bool:
    """Initialise the home, or bring it up to date; returns whether this call created it."""
    return initialise(settings, prepare=_create_schema)


def dagster_home(settings: Settings) -> Path:
    """Where Dagster keeps its state."""
    return settings.home / "dagster"


def open_instance(settings: Settings) -> "dg.DagsterInstance":
    """The instance of this home; the home is initialised first."""
    import dagster as dg  # noqa: PLC0415 - module docstring
    from dagster._core.instance.ref import InstanceRef  # noqa: PLC0415

    prepare(settings)
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(dagster_home(settings))))


def _create_schema(settings: Settings) -> None:
    import dagster as dg  # noqa: PLC0415 - module docstring
    from dagster._core.instance.ref import InstanceRef  # noqa: PLC0415

    home = dagster_home(settings)
    # The stock class: ours would wait for the lock that is held here. The file names ours afterwards.
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as instance:
        instance.get_run_ids(limit=1)
        instance.get_latest_materialization_event(dg.AssetKey("none"))
        instance.all_instigator_state()
    (home / "dagster.yaml").write_bytes(CONFIG.read_bytes())
