"""Maps of more rows than memory holds: a folder of Parquet files, of which only what is used is read."""
