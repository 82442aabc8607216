"""From a model and its training data to a memory map."""
