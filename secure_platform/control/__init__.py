"""The control database: principals, keys, releases, approvals, metrics, and the locks of the home."""
