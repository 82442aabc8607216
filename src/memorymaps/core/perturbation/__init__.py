"""From `(f, V, Λ, e)` to what leaving examples out does."""
