"""Finding identifiers and secrets in columns."""
