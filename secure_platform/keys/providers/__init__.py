"""Who wraps our keys: this home, Vault or AWS, by settings alone; and the connections to Vault and AWS."""
