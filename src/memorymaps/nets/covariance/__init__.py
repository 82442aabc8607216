"""The posterior covariance `S⁻¹` in its different forms, and its products with gradients."""
