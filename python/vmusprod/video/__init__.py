"""Pictures in: one decode pass gives motion, scene cuts and colour; music goes back under them.

Knows nothing of music: a score is somebody else's, a WAV file is sound.
"""
