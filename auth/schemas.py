"""Bodies of requests and responses, and the one form of an e-mail address."""

import unicodedata
from datetime import datetime
from typing import Annotated

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from auth.passwords import MAX_LENGTH, MIN_LENGTH
from shared.tokens import Role
from shared.web.body_limit import Body
from shared.web.text import LINE


def mailbox(address: str) -> str:
    """The address in the form that is stored and looked up; ValueError if it is not an address.

    Capitals, full-width letters, decomposed accents and a domain in Punycode all lead to the same
    account. Dots and what follows a plus sign are kept, because providers treat them differently.
    """
    compatible = unicodedata.normalize("NFKC", address)
    try:
        found = validate_email(compatible, check_deliverability=False, strict=True)
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None  # the error quotes the input
    local = unicodedata.normalize("NFKC", found.local_part.casefold())
    return f"{local}@{found.domain.lower()}"


def _encodable(value: SecretStr) -> SecretStr:
    try:
        # fails on a lone surrogate, which JSON can escape ("\ud800") and UTF-8 cannot hold
        value.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("must be text") from None  # the original error quotes the secret
    return value


Email = Annotated[
    str, Field(max_length=254, json_schema_extra={"format": "email"}), AfterValidator(mailbox)
]
Secret = Annotated[SecretStr, AfterValidator(_encodable)]
#: For signing in: at least 1 character, as it may have been set under other rules.
GivenPassword = Annotated[Secret, Field(min_length=1, max_length=MAX_LENGTH)]
NewPassword = Annotated[Secret, Field(min_length=MIN_LENGTH, max_length=MAX_LENGTH)]


class Login(Body):
    """Who signs in."""

    email: Email
    password: GivenPassword


class Registration(Body):
    """Who wants to become a user."""

    email: Email
    password: NewPassword
    display_name: Annotated[str, Field(min_length=1, max_length=80, pattern=LINE)]


class Refresh(Body):
    """A refresh token, to exchange or to end."""

    refresh_token: Annotated[Secret, Field(min_length=1, max_length=200)]


class PasswordChange(Body):
    """The old password and the one that replaces it."""

    current_password: GivenPassword
    new_password: NewPassword


class RoleChange(Body):
    """All roles that the user has from now on."""

    roles: Annotated[list[Role], Field(min_length=1, max_length=len(Role))]


class UserOut(BaseModel):
    """A user, without secrets."""

    id: str
    email: str
    display_name: str
    roles: list[Role]
    created_at: datetime
