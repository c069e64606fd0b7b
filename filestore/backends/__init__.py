"""Grounds that are not the file engine: the same protocol elsewhere."""
