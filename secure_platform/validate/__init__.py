"""Whether a dataset keeps its contract, row by row and as a whole."""
