"""What finding products has to answer, worked out slowly.

`catalogue` draws the rows, `questions` what is asked of them, and `oracle` knows the answers.
"""
