"""Training data larger than memory: files on disk or elsewhere, and the pieces that they are read in."""
