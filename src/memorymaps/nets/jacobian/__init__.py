"""Products with the Jacobian of a whole batch."""
