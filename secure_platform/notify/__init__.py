"""Who must know is told, in channels outside: a notice tells and links, and decides nothing."""
