"""Whether a release may be deployed: its state, and the signed decisions of principals on it."""
