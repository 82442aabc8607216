"""Rows of the weighted Jacobian: which are drawn and with what weights, how they are made, and where they are kept."""
