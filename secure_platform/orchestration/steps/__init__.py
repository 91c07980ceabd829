"""The way of the data as plain functions, one per arrow; `orchestration.assets` puts Dagster around them."""
