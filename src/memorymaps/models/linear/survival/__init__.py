"""Proportional hazards: the posterior of Cox regression, its partial likelihood, refits without subjects."""
