"""Compare the answers of two services byte for byte: one with the edge, and one without it.

Both see the same requests, one after the other, on databases whose clock depends on nothing but
their history. `arrivals` makes the requests, `wire` carries them, `twins` keeps both services in
step, and `compare` judges each pair of answers.
"""
