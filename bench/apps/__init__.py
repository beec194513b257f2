"""The contenders that are not the product, each as its documentation or a good engineer has it.

All of them read DATABASE_URL, REDIS_URL, QUOTA and PERIOD (requests of a client in so many
seconds) and WRITE_KEY from the environment.
"""
