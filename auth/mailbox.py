"""Normalises e-mail addresses, so that one mailbox is one account however it is typed."""

import unicodedata

from email_validator import EmailNotValidError, validate_email


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
