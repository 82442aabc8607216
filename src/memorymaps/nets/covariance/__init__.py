"""Representations of the posterior covariance `S⁻¹` and its products with per-example gradients."""
