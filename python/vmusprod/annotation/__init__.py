"""`vmus annotate`: what SymMV says of a song (paper, section 3.2), for any folder of songs."""
