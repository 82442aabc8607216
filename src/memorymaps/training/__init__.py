"""Maps recorded during training."""
