"""The key ring: every key is versioned, wrapped at rest, derived per purpose, and never shown."""
