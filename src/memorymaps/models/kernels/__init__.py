"""Gaussian processes, support vector machines and kernel ridge regression."""
