"""Beyond these values the platform is not well: the alerts and the console's verdict read them."""

from plainview.kit import Thresholds

SERVICE = Thresholds()  # of any service: error ratio, latency, resources
PENDING_S = 60  # the age of the oldest claim whose stock work is left undone
