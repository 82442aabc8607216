"""Maps of networks drawn by the processes of a `torch.distributed` group, each from its own share of the examples."""
