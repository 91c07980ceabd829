"""A release: the signed, immutable package of a product's output at fixed snapshots."""
