"""PyTorch networks; torch is imported nowhere else."""
