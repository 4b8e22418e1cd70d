"""The form in which passwords are stored, argon2id; nothing else knows the library for it."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


class Hasher:
    """Makes and reads encoded hashes; the defaults, with one lane, are OWASP's minimum."""

    def __init__(self, memory_kib: int = 19_456, time_cost: int = 2) -> None:
        self._argon2id = PasswordHasher(time_cost, memory_kib, parallelism=1)

    def hash(self, password: str) -> str:
        """The encoded hash, with a salt of its own."""
        return self._argon2id.hash(password)

    def fits(self, stored: str, password: str) -> bool:
        """Whether the password has this hash; False also for a text that is no hash."""
        try:
            return self._argon2id.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    def outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters."""
        return self._argon2id.check_needs_rehash(stored)
