"""Ordinary uses of models, as their libraries' documentation shows them, one file a library."""
