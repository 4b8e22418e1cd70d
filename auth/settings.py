"""Settings of auth, besides those that all services read."""

from pydantic import Field, SecretStr, field_validator

from shared.setting_types import RateLimit
from shared.settings import MongoSettings
from shared.token_keys import load_key, split_pem


class Settings(MongoSettings):
    """Settings of auth; times are in seconds, limits in the notation of the `limits` library."""

    port: int = Field(8001, ge=0, le=65535)
    mongo_database: str = "event_rewards_auth"
    #: the Ed25519 private key that signs access tokens, as PEM
    auth_signing_key: SecretStr
    #: further public keys to publish, as PEM: earlier ones, or the next one before it is used
    auth_previous_keys: str = ""
    auth_account_limit: RateLimit = "10/5 minutes"
    auth_address_limit: RateLimit = "200/5 minutes"
    #: argon2id hashes calculated at the same time, with 19 MiB of memory each
    auth_password_threads: int = Field(2, ge=1, le=16)
    #: a request that would wait longer than this for a thread is refused; well below the
    #: gateway's UPSTREAM_DEADLINE_SECONDS, after which nobody waits for the reply
    auth_password_wait_seconds: float = Field(2.0, ge=0, le=30)
    auth_family_days: int = Field(30, ge=1, le=365)

    @field_validator("auth_signing_key")
    @classmethod
    def _private(cls, value: SecretStr) -> SecretStr:
        load_key(value.get_secret_value(), private=True)
        return value

    @field_validator("auth_previous_keys")
    @classmethod
    def _public(cls, value: str) -> str:
        for pem in split_pem(value):
            load_key(pem, private=False)
        return value
