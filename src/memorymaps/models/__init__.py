"""Model kinds: one adapter file a family, imported only when such a model is met."""
