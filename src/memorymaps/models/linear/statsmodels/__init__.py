"""Results of statsmodels: one file a kind of result."""
