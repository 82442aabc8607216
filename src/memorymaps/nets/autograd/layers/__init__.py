"""Layers with closed-form parameter gradients, and layers decomposed for second derivatives."""
