"""Estimators around estimators: pipelines, searches, several outputs."""
