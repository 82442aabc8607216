"""Several processes that draw one map together."""
