"""Where data comes from: files are read as text, and every byte of them is accounted for."""
