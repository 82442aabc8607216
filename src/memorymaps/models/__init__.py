"""Model families other than networks: one folder a family, one file a library."""
