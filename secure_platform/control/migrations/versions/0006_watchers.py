"""What is usual of the use of each product; and the seals of the metrics history."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and the columns; the home seals what was there when it is opened."""
    with op.batch_alter_table("profile") as profile:
        profile.add_column(sa.Column("sequence", sa.Integer(), nullable=True))
        for name in ("previous", "content", "seal"):
            profile.add_column(sa.Column(name, sa.String(length=80), nullable=True))
    chain = ["product", "dataset", "zone", "sequence"]
    op.create_index("ix_profile_chain", "profile", chain, unique=True)
    op.create_table(
        "habit",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_habit")),
    )
