"""What the control database holds; the revisions in `migrations/` create exactly these tables."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
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
    Column("groups", JSON, nullable=False),
    Column("email", String(320), nullable=True),
    Column("issuer", String(512), nullable=True),
    Column("subject", String(255), nullable=True),
    Column("revision", Integer, nullable=False),
    Column("seal", String(80), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("kind IN ('user', 'service')", name="kind"),
    UniqueConstraint("issuer", "subject"),
)

token: Final = Table(
    "token",
    metadata,
    Column("token_id", String(32), primary_key=True),
    Column("principal", String(255), ForeignKey("principal.name"), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("label", String(128), nullable=False),
    Column("scopes", JSON(none_as_null=True), nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True), nullable=True),
    Column("seal", String(80), nullable=False),
)

credential: Final = Table(
    "credential",
    metadata,
    Column("principal", String(255), ForeignKey("principal.name"), primary_key=True),
    Column("password_hash", Text, nullable=True),
    Column("totp_secret", LargeBinary, nullable=True),
    Column("totp_step", Integer, nullable=True),
    Column("link_hash", LargeBinary(32), nullable=True),
    Column("link_expires_at", DateTime(timezone=True), nullable=True),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("seal", String(80), nullable=False),
)

session: Final = Table(
    "session",
    metadata,
    Column("session_id", String(32), primary_key=True),
    Column("principal", String(255), ForeignKey("principal.name"), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("method", String(16), nullable=False),
    Column("address", String(64), nullable=True),
    Column("client", String(255), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("mfa_at", DateTime(timezone=True), nullable=True),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True), nullable=True),
    Column("seal", String(80), nullable=False),
)

login_attempt: Final = Table(
    "login_attempt",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("locked_until", DateTime(timezone=True), nullable=True),
)

access_grant: Final = Table(
    "access_grant",
    metadata,
    Column("grant_id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("principal", String(255), ForeignKey("principal.name"), nullable=False),
    Column("role", String(64), nullable=False),
    Column("product", String(64), nullable=True),
    Column("given_by", String(255), nullable=False),
    Column("reason", LargeBinary, nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True), nullable=True),
    Column("reviewed_by", String(255), nullable=True),
    Column("reviewed_at", DateTime(timezone=True), nullable=True),
    Column("review", LargeBinary, nullable=True),
    Column("seal", String(80), nullable=False),
    CheckConstraint("kind IN ('grant', 'delegation', 'break_glass')", name="kind"),
)

freeze: Final = Table(
    "freeze",
    metadata,
    Column("freeze_id", String(32), primary_key=True),
    Column("product", String(64), nullable=True),
    Column("reason", LargeBinary, nullable=False),
    Column("set_by", String(255), nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=True),
    Column("lifted_at", DateTime(timezone=True), nullable=True),
    Column("seal", String(80), nullable=False),
)

notice: Final = Table(
    "notice",
    metadata,
    Column("notice_id", String(32), primary_key=True),
    Column("channel", String(64), nullable=False),
    Column("event", String(64), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("delivered_at", DateTime(timezone=True), nullable=True),
    Column("given_up_at", DateTime(timezone=True), nullable=True),
    Column("problem", String(255), nullable=True),
    UniqueConstraint("channel", "event", "subject"),
)

key_version: Final = Table(
    "key_version",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("algorithm", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("reference", String(512), nullable=True),
    Column("wrapped", LargeBinary, nullable=True),
    Column("public_key", Text, nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("seal", String(80), nullable=False),
)

key_usage: Final = Table(
    "key_usage",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("reserved", BigInteger, nullable=False),
    Column("seal", String(80), nullable=False),
)

subject_key: Final = Table(
    "subject_key",
    metadata,
    Column("domain", String(255), primary_key=True),
    Column("subject", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("destroyed_at", DateTime(timezone=True), nullable=True),
)

token_book: Final = Table(
    "token_book",
    metadata,
    Column("book", Integer, primary_key=True, autoincrement=True),
    Column("domain", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("until", Date, nullable=False),
    Column("form", String(8), nullable=False),
    UniqueConstraint("domain", "version", "until", "form"),
)

token_page: Final = Table(
    "token_page",
    metadata,
    Column("book", Integer, ForeignKey("token_book.book"), primary_key=True),
    Column("page", Integer, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

key_backup: Final = Table(
    "key_backup",
    metadata,
    Column("backup_id", String(32), primary_key=True),
    Column("made_by", String(255), nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("covers", JSON, nullable=False),
    Column("seal", String(80), nullable=False),
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
    Column("approver_groups", JSON, nullable=False),
    Column("second_approver_groups", JSON, nullable=False),
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
    Column("reason", LargeBinary, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("release", "principal", "decision"),
)

profile: Final = Table(
    "profile",
    metadata,
    Column("snapshot_id", String(32), primary_key=True),
    Column("product", String(64), nullable=False),
    Column("dataset", String(64), nullable=False),
    Column("zone", String(16), nullable=False),
    Column("numbers", JSON, nullable=False),
    Column("sketches", JSON, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("findings", JSON, nullable=False),
    Column("verdicts", JSON, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("sequence", Integer, nullable=True),
    Column("previous", String(80), nullable=True),
    Column("content", String(80), nullable=True),
    Column("seal", String(80), nullable=True),
    Index("ix_profile_history", "product", "dataset", "zone", "recorded_at"),
    Index("ix_profile_chain", "product", "dataset", "zone", "sequence", unique=True),
)

heartbeat: Final = Table(
    "heartbeat",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
)

incident: Final = Table(
    "incident",
    metadata,
    Column("incident_id", String(32), primary_key=True),
    Column("product", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("blocking", Boolean(create_constraint=True, name="blocking"), nullable=False),
    Column("release", String(80), nullable=True),
    Column("signals", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("worse_at", DateTime(timezone=True), nullable=False),
    Column("acknowledged_by", String(255), nullable=True),
    Column("acknowledged_at", DateTime(timezone=True), nullable=True),
    Column("closed_by", String(255), nullable=True),
    Column("closed_at", DateTime(timezone=True), nullable=True),
    Column("note", LargeBinary, nullable=True),
    Column("seal", String(80), nullable=False),
)

habit: Final = Table(
    "habit",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("state", LargeBinary, nullable=False),
    Column("seal", String(80), nullable=False),
)

privacy_spend: Final = Table(
    "privacy_spend",
    metadata,
    Column("spend_id", String(80), primary_key=True),
    Column("product", String(64), nullable=False),
    Column("aggregate", String(64), nullable=False),
    Column("epsilon", String(80), nullable=True),
    Column("rho", String(80), nullable=False),
    Column("delta", String(80), nullable=False),
    Column("key_version", Integer, nullable=False),
    Column("spent_at", DateTime(timezone=True), nullable=False),
    Column("seal", String(80), nullable=False),
)
