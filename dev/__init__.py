"""Parts for development alone: demo data, and servers for a machine that has none."""
