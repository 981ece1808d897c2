"""A bundle fitted to one laboratory, taking only what is better there."""
