"""Files that survive kills, threads and strangers: atomic writing, locks, text that is safe to print."""
