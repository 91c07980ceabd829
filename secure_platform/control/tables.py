"""What the control database holds; the revisions in `migrations/` create exactly these tables."""

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

principal: Final = Table(
    "principal",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("active", Boolean(create_constraint=True, name="active"), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("kind IN ('user', 'service')", name="kind"),
)

token: Final = Table(
    "token",
    metadata,
    Column("token_id", String(32), primary_key=True),
    Column("principal", String(255), ForeignKey("principal.name"), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True), nullable=True),
)

key_version: Final = Table(
    "key_version",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("algorithm", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("wrapped", LargeBinary, nullable=True),
    Column("public_key", Text, nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

release: Final = Table(
    "release",
    metadata,
    Column("digest", String(80), primary_key=True),
    Column("product", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("environment", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("base", String(80), nullable=True),
    Column("classification", String(16), nullable=False),
    Column("requested_by", String(255), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("input_key", String(80), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=True),
    UniqueConstraint("product", "number"),
)

approval: Final = Table(
    "approval",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("release", String(80), ForeignKey("release.digest"), nullable=False),
    Column("principal", String(255), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("release", "principal", "decision"),
)

metric: Final = Table(
    "metric",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("product", String(64), nullable=False),
    Column("dataset", String(64), nullable=False),
    Column("zone", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    Column("value", Float, nullable=False),
    Column("snapshot_id", String(32), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("snapshot_id", "name"),
)
