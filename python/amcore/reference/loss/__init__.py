"""Losses ℓ(v, y), one operator a file."""
