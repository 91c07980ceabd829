"""Tokens that were drawn at random, and what they stand for, sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "token_book",
        sa.Column("book", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("form", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("book", name=op.f("pk_token_book")),
        sa.UniqueConstraint("domain", "version", "until", "form", name=op.f("uq_token_book_domain")),
    )
    op.create_table(
        "token_page",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["book"], ["token_book.book"], name=op.f("fk_token_page_book")),
        sa.PrimaryKeyConstraint("book", "page", name=op.f("pk_token_page")),
    )
