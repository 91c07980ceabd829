"""Governance pages: each module is one room of them and gives its routes."""
