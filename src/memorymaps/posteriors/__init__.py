"""The contract between models and maps, and the registry of adapters."""
