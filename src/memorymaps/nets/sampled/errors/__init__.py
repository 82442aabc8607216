"""What sampled curvature says of each example, and by how much this and the whole map may be off."""
