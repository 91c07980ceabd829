"""Info types and secrets inside free text, as spans of characters."""
