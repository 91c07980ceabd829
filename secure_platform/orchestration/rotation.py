"""Once a day everything that is due is rotated, by the scheduler and nobody else.

A person rotates with `secure-platform keys rotate` or `secret rotate`, where the policy asks how they came.
What fails is recorded, told to the channels, and fails the run; everything else is rotated all the same.
"""

from typing import Any

import dagster as dg

from secure_platform.errors import AccessDeniedError, ServiceError
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.stamp import stamped
from secure_platform.services import SCHEDULER, Services
from secure_platform.settings import load_settings

JOB = "rotation"


@dg.op(name="rotate_what_is_due", description="Rotates secrets that are due.")
def rotate_what_is_due(context: dg.OpExecutionContext) -> None:
    """Rotate what is due, for the scheduler.

    Raises:
        AccessDeniedError: If somebody else asked for the run.
        ServiceError: If something could not be rotated.
    """
    value_free("The rotation", lambda: _rotate(context))


@dg.job(name=JOB, description="Rotates secrets that are due.", executor_def=dg.in_process_executor)
def rotation() -> None:
    """The job of the schedule."""
    rotate_what_is_due()


def rotation_definitions() -> dg.Definitions:
    """The job, and its daily schedule."""
    schedule = dg.ScheduleDefinition(
        name="rotation_schedule",
        job=rotation,
        cron_schedule="15 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(jobs=[rotation], schedules=[schedule])


def _rotate(context: Any) -> None:
    services = Services(load_settings())
    requester = services.requester(stamped(services.keys, context.run))
    if requester.name != SCHEDULER:
        raise AccessDeniedError(
            "What is due is rotated by the schedule only", "Run: secure-platform secret rotate secret://…"
        )
    done = services.secret_custody.rotate_due(requester, services.settings.secrets.rotated)
    for rotation in done:
        context.log.info("%s: %s", rotation.reference, rotation.problem or "rotated")
    failed = [rotation.reference for rotation in done if rotation.problem is not None]
    if failed:
        raise ServiceError(
            f"These could not be rotated and are as they were: {', '.join(failed)}",
            "Look at the run's log and the audit log, then run it again.",
        )
