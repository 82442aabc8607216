"""Matplotlib displays of maps, group removal, retraining checks and tracked runs."""
