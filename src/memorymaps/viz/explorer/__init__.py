"""The interactive explorer, one way: options → columns and metadata → packing → page, server, widget → explore."""
