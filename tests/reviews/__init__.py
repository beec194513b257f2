"""A feature that is added to a copy of `shop/` as CONTRIBUTING.md says (`test_features.py`)."""
