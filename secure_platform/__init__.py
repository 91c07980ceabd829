"""CI/CD for sensitive data, on Dagster."""
