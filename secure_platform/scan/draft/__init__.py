"""Drafts of contracts from data: proposals for a person to look at, never a value of what is confidential."""
