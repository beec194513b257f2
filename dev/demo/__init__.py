"""A demo shop: its catalogue, and half a year of orders."""
