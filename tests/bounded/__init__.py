"""What requests cost, counted: `places` makes them of the API's own document, `work` counts what
they do, and `ambiguity` judges the patterns that they meet.
"""
