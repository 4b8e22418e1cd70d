"""Settings of the event service, besides those that all services read."""

from pydantic import Field

from shared.settings import MongoSettings, RemoteKeysSettings


class Settings(MongoSettings, RemoteKeysSettings):
    """Times are in seconds."""

    port: int = Field(8002, ge=0, le=65535)
    mongo_database: str = "event_rewards_event"
    # their sum is below 60 s, so that claims a crash interrupted are recovered within a minute
    claim_stale_seconds: float = Field(15.0, gt=0, le=30)
    reconcile_seconds: float = Field(4.0, gt=0, le=20)
    signals_seconds: float = Field(5.0, gt=0, le=60)
