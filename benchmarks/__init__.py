"""Benchmarks: the product's own functions, each beside the thing it is held against, in one run."""
