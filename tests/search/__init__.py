"""Compute the right answers of product searches, slowly.

`catalogue` draws the rows, `questions` what is asked of them, and `oracle` knows the answers.
"""
