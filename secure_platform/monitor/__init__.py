"""Metrics history and the checks over it."""
