"""Thresholds beyond which the platform is not well; alerts and the console's verdict use them."""

from plainview.kit import Thresholds

SERVICE = Thresholds()  # of any service: error ratio, latency, resources
PENDING_S = 60  # seconds: age of the oldest claim whose change of stock is unfinished
