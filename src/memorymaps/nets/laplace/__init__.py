"""The Laplace posterior of a network and its diagnostics."""
