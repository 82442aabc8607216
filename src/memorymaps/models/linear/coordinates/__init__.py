"""The same linear model in other coordinates, in which it is better conditioned or smaller."""
