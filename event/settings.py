"""Settings of the event service, besides those that all services read."""

from pydantic import Field

from shared.setting_types import HttpHost, HttpUrl
from shared.settings import MongoSettings


class Settings(MongoSettings):
    """Times are in seconds."""

    port: int = Field(8002, ge=0, le=65535)
    mongo_database: str = "event_rewards_event"
    auth_url: HttpHost = "http://127.0.0.1:8001"
    jwks_url: HttpUrl = ""
    # their sum is below 60 s, so that claims a crash interrupted are recovered within a minute
    claim_stale_seconds: float = Field(15.0, gt=0, le=30)
    reconcile_seconds: float = Field(4.0, gt=0, le=20)
    signals_seconds: float = Field(5.0, gt=0, le=60)

    @property
    def keys_url(self) -> str:
        """The URL of the public keys that verify access tokens."""
        return self.jwks_url or f"{self.auth_url.rstrip('/')}/.well-known/jwks.json"
