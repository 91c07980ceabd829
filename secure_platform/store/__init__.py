"""Encrypted snapshots and the build warehouse: everything that holds data at rest before it is released."""
