"""What is usual of the use of each product; and the seals of the metrics history."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# One record without a seal makes a history unbelievable for good. A process of an earlier version that runs
# on knows no seals: it fails instead. Records of before are only updated.
# A later batch that makes the table anew would lose the trigger, and must create it again.
_ONLY_SEALED = """
CREATE TRIGGER profile_only_sealed BEFORE INSERT ON profile WHEN NEW.seal IS NULL
BEGIN
    SELECT RAISE(ABORT, 'the home was brought up to date: stop this process of an earlier version');
END
"""


def upgrade() -> None:
    """Create the table, and the columns; the home seals what was there when it is opened."""
    with op.batch_alter_table("profile") as profile:
        profile.add_column(sa.Column("sequence", sa.Integer(), nullable=True))
        for name in ("previous", "content", "seal"):
            profile.add_column(sa.Column(name, sa.String(length=80), nullable=True))
    op.execute(_ONLY_SEALED)
    chain = ["product", "dataset", "zone", "sequence"]
    op.create_index("ix_profile_chain", "profile", chain, unique=True)
    op.create_table(
        "habit",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_habit")),
    )
