"""Who somebody is, and what the policy lets them do."""
