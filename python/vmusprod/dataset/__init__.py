"""Readers of the data sets that vmus learns from."""
