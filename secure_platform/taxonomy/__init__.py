"""What values are and how they are classified: data with a strict loader, no policy."""
