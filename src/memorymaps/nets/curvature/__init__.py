"""Curvature structures: approximations of the generalised Gauss–Newton matrix before a prior is added."""
