"""How well and how fast columns are classified, against labels that were written before any tuning."""
