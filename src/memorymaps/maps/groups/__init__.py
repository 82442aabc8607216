"""Removal of groups: how predictions change without each, and what statisticians read of it."""
