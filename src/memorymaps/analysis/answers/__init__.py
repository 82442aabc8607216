"""Questions asked of a map: which labels are wrong, which examples made a prediction."""
