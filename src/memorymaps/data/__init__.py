"""Training examples: in memory or in Parquet files, subsets of them, and checks of user input."""
