"""The web server: Dagster's UI behind our own guards."""
