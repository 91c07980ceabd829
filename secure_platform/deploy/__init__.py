"""Deployment of verified releases: targets, publication, rollback."""
