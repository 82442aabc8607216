"""Registers the result class of ArviZ < 1.0, `InferenceData`: `memory_map` raises and shows `from_arviz`."""

from arviz import InferenceData

from memorymaps.models.draws.arviz import register_hint

register_hint(InferenceData)
