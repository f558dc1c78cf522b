"""Symbolic music: files, grids, keys, chords, tokens, metrics. Imports no torch."""
