"""PyTorch data sets, loaders and samplers as training examples."""
