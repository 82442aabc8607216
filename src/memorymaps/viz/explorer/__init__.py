"""The interactive explorer: one file, a widget, or a local server."""
