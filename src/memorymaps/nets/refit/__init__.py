"""Retraining without some examples, and influence of groups by iterative solvers."""
