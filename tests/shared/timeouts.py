"""How long a test waits for another process before it fails; no test measures speed."""

TIMEOUT = 300  # seconds: many times what any wait takes on a busy machine
