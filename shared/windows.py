"""The windows over which users are counted, and how many single days are reported."""

DAYS = 30
WINDOWS = {"day": 1, "week": 7, "month": DAYS}  # label `window` to days, today included
