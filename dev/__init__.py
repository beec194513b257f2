"""What the service itself does not need: demo data, and servers for a machine that has none."""
