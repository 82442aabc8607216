"""Curvature from sampled rows of the weighted Jacobian, each example's own rows left out of its posterior."""
