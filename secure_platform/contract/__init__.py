"""Contracts: what a dataset must look like and how sensitive each column is, from ODCS YAML to checks."""
