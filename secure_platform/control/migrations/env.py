"""Alembic runs on the connection that `ControlDatabase.migrate` hands over; there is no other way in."""

from alembic import context

from secure_platform.control.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
