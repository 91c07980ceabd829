"""Secrets of others, which this platform needs: read where and when they are used, and never written down."""
