"""Networks trained on without some examples, and the influence of groups by iteration."""
