"""Outgoing notices: they tell and link, and never decide."""
