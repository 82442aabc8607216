"""Posteriors given by draws: Markov chains, ensembles, dropout."""
