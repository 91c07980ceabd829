"""The privacy budget: what was told of people in numbers with noise."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "privacy_spend",
        sa.Column("spend_id", sa.String(length=80), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("aggregate", sa.String(length=64), nullable=False),
        sa.Column("epsilon", sa.String(length=80), nullable=True),
        sa.Column("rho", sa.String(length=80), nullable=False),
        sa.Column("delta", sa.String(length=80), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("spent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seal", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("spend_id", name=op.f("pk_privacy_spend")),
    )
