"""Per-example gradients of a module: recorded layer inputs, cotangents, vector–Jacobian products."""
