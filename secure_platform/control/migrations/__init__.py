"""Alembic revisions of the control database."""
