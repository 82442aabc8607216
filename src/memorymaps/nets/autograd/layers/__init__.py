"""Layers with formulas of their own, and layers rewritten so that they can be differentiated twice."""
