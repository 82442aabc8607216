"""Registers ArviZ's result type: it is met by the line to type."""

from arviz import InferenceData

from memorymaps.models.arviz_draws import teach

teach(InferenceData)
