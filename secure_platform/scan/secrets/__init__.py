"""Finding secrets in text, files and columns by rules in the gitleaks format; no part of one is kept."""
