"""What can be scanned: files, folders, archives, object stores, databases; each becomes tables and texts."""
