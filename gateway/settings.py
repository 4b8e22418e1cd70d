"""Settings of the gateway, besides those that all services read."""

from pydantic import Field

from gateway.signals import Limit, Upstream
from plainview.client_address import parse_networks
from shared.setting_types import HttpHost, Networks, Origins, RateLimit
from shared.settings import RemoteKeysSettings

# Loopback and private networks: scrapers and probes come from there, clients do not.
PRIVATE = "127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"


class Settings(RemoteKeysSettings):
    """Settings of the gateway; times in seconds, limits in the notation of the `limits` library."""

    port: int = Field(8000, ge=0, le=65535)
    max_connections_per_client: int = Field(128, ge=0)
    metrics_allow: Networks | None = Field(parse_networks(PRIVATE), validate_default=True)
    event_url: HttpHost = "http://127.0.0.1:8002"
    #: time to connect; from the sent request to the reply's head; between parts of the reply
    upstream_connect_seconds: float = Field(1.0, gt=0, le=60)
    upstream_deadline_seconds: float = Field(5.0, gt=0, le=60)
    upstream_idle_seconds: float = Field(60.0, gt=0)
    #: calls in flight to each upstream, in all and of one client
    upstream_max_in_flight: int = Field(512, ge=1)
    upstream_max_in_flight_per_client: int = Field(64, ge=1)
    breaker_open_seconds: float = Field(10.0, gt=0, le=300)
    rate_limit_user: RateLimit = "300/minute"
    rate_limit_address: RateLimit = "600/minute"
    #: for register and login, by address
    rate_limit_sign_in: RateLimit = "30/minute"
    cors_origins: Origins = ()

    @property
    def upstreams(self) -> dict[Upstream, str]:
        return {"auth": self.auth_url, "event": self.event_url}

    @property
    def rate_limits(self) -> dict[Limit, str]:
        user, address = self.rate_limit_user, self.rate_limit_address
        return {"user": user, "address": address, "sign_in": self.rate_limit_sign_in}
