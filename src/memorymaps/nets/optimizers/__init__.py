"""Posteriors from an optimizer's state, and a variational Newton optimizer."""
