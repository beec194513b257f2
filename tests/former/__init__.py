"""The scripts of the limits as they were when each charge wrote the whole record: a frozen copy.

During an upgrade that takes one worker after the other, workers of that version and of this one
count on the same records. `test_limits_upgrade.py` lets them take turns. Nothing here is changed.
"""
