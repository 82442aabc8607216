"""Generalised linear models: a linear predictor, and its posterior from one pass over the data."""
