"""Once a day, the scheduler rotates all keys and secrets that are due, and deletes ended tokens.

People rotate with `secure-platform keys rotate` or `secret rotate`, where the policy checks how they logged
in. A failure is recorded, reported to the channels, and fails the run; everything else is rotated all the
same.
"""

from typing import Any

import dagster as dg

from secure_platform.access.custody import Custody
from secure_platform.access.principals import Principal
from secure_platform.access.secret_custody import Rotation, problem_of
from secure_platform.errors import AccessDeniedError, GateRefusedError, ServiceError
from secure_platform.keys.catalog import SIGN
from secure_platform.keys.usage import Due
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.stamp import stamped
from secure_platform.orchestration.steps import stored_tokens
from secure_platform.orchestration.steps.emergency import publish_trust_root
from secure_platform.services import SCHEDULER, Services
from secure_platform.settings import load_settings

JOB = "rotation"


@dg.op(name="rotate_what_is_due", description="Rotates keys and secrets that are due.")
def rotate_what_is_due(context: dg.OpExecutionContext) -> None:
    """Rotate what is due, for the scheduler.

    Raises:
        AccessDeniedError: If somebody else asked for the run.
        ServiceError: If something could not be rotated.
    """
    value_free("The rotation", lambda: _rotate(context))


@dg.job(name=JOB, description="Rotates keys and secrets that are due.", executor_def=dg.in_process_executor)
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
            "What is due is rotated by the schedule only",
            "Run: secure-platform keys rotate --due, or secret rotate secret://…",
        )
    secrets = services.secret_custody.rotate_due(requester, services.settings.secrets.rotated)
    keys = [_rotate_key(services.custody, requester, due) for due in services.custody.due()]
    done = [*(rotation for rotation in keys if rotation is not None), *secrets]
    for rotation in done:
        context.log.info("%s: %s", rotation.name, rotation.problem or "rotated")
    context.log.info("%s books of stored tokens ended", stored_tokens.sweep(services, actor=requester.name))
    if any(rotation.name == SIGN and rotation.problem is None for rotation in done):
        publish_trust_root(services, actor=requester.name)
    failed = [rotation.name for rotation in done if rotation.problem is not None]
    if failed:
        raise ServiceError(
            f"These could not be rotated and are as they were: {', '.join(failed)}",
            "Look at the run's log and the audit log, then run it again.",
        )


def _rotate_key(custody: Custody, requester: Principal, due: Due) -> Rotation | None:
    try:
        custody.rotate(requester, due.name, after=due.version)
    except GateRefusedError:
        # Changed by somebody else since it was seen; if it is still due, tomorrow.
        return None
    except Exception as error:  # noqa: BLE001 - one that fails stops no other
        return Rotation(due.name, problem_of(error))
    return Rotation(due.name, None)
