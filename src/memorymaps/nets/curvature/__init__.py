"""Curvature structures: what is summed over the data before a prior is added."""
