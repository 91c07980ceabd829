"""The Dagster edge: component, assets, checks, resources, sensors, schedules and the instance."""
