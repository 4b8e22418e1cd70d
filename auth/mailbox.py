"""One spelling of an e-mail address: one mailbox is one account."""

import unicodedata

from email_validator import EmailNotValidError, validate_email


def mailbox(address: str) -> str:
    """The address in the form that is stored and looked up; ValueError if it is none.

    Capitals, full-width letters, accents put together in another way and a domain in Punycode all
    lead to the same account. Dots and what follows a plus sign stay: providers differ there.
    """
    compatible = unicodedata.normalize("NFKC", address)
    try:
        found = validate_email(compatible, check_deliverability=False, strict=True)
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None  # the error quotes the input
    local = unicodedata.normalize("NFKC", found.local_part.casefold())
    return f"{local}@{found.domain.lower()}"
