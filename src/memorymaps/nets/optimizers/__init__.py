"""Posteriors from an optimiser's state, and the variational learning rule as an optimiser."""
