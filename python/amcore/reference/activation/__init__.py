"""Activations σ, one operator a file."""
