"""The `secure-platform` command."""
