"""Regularisers r, one operator a file."""
