"""How well and how fast columns are classified, against labels that were written before any tuning."""

from benchmarks.scan.classify import run

__all__ = ["run"]
