"""Mathematics: arrays in, arrays out; no model library, no files."""
