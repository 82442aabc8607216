"""Registers the result type of ArviZ before 1.0: it is met by the line to type."""

from arviz import InferenceData

from memorymaps.models.draws.arviz import register_hint

register_hint(InferenceData)
