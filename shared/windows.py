"""Over which days users are counted, and how many days are told one by one."""

DAYS = 30
WINDOWS = {"day": 1, "week": 7, "month": DAYS}  # label `window` to days, today included
