"""The schemes: one sweep of one algorithm a file."""
