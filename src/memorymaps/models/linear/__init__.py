"""Linear and generalised linear models, ordinal regression, proportional hazards."""
