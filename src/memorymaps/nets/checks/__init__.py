"""Checks of a network and its loss before a map: what the map rests on is verified on a few examples."""
