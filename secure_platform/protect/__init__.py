"""Protection: what may leave the raw zone, in which form, and the proof that nothing else did."""
