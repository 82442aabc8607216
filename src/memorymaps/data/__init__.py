"""Training examples: in memory, in Parquet files, selections of them, and the checks they pass."""
