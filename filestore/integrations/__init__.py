"""Adapters to software that is not ours, each optional and imported on its own."""
