"""One small, deterministic example of every model family that memorymaps draws maps of."""
