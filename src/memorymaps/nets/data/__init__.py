"""Data sets, loaders and samplers of PyTorch as training examples."""
