"""Forests and gradient boosting, linear in their leaf indicators."""
