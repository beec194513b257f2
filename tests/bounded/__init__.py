"""Count the cost of requests.

`places` makes them from the API's own document, `work` counts their calls, and `ambiguity` judges
the patterns that they meet.
"""
