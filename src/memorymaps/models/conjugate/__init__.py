"""Conjugate exponential families and linear-Gaussian state space models."""
