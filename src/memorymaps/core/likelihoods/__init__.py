"""Observation models p(y | f): errors `e = ∇_f ℓ`, curvatures `Λ = ∇²_f ℓ`, means."""
