"""The result: a table with one row an example, its provenance, and what follows from its columns."""
