"""Effects of leaving examples out, from outputs `f`, variances `V`, curvatures `Λ` and errors `e`."""
