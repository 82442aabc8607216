"""PyTorch networks: the only rooms that import torch."""
