"""The expressions of deploy/monitoring/, and what they are compared with."""
