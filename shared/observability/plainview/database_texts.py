"""Values that databases and their drivers quote in the texts of exceptions, out of any text.

SQLAlchemy adds the statement and its parameters, PostgreSQL the key or the row that did not fit,
MySQL the value, PyMongo the whole reply of the server. No pattern could tell which of these values
are private, so all of them go. What went wrong stays: it is said before the values.
"""

import re

from .mask_patterns import MASK

# Each ends where values begin; SQLAlchemy's two are left out, too.
_BEFORE_VALUES = (
    r"\[(?:SQL|parameters): "
    r"|(\bKey \((?:[^()\n]|\([^()\n]{0,64}+\)){1,200}+\)=\("
    r"|Failing row contains \("
    r"|invalid input (?:syntax|value) for (?:type |enum )?+[\w\".]++:?+ ?+"
    r"|invalid input for query argument \$[0-9]+: "
    r"|Duplicate entry '"
    r"|Incorrect [\w ]{1,40} value: '"
    r"|dup key: \{"
    r"|full error: \{)"
)
# Values may have several lines, so they end only where SQLAlchemy or a stack trace goes on.
_AFTER_VALUES = (
    r"[\s|]{0,24}(?:\(Background on this error at: |The above exception was the direct cause of"
    r"|During handling of the above exception|\+-{8})|\s{0,8}\Z"
)
_VALUES = re.compile(rf"(?:{_BEFORE_VALUES})[\s\S]*?(?={_AFTER_VALUES})")
# Every text that `_VALUES` changes has one of these; looking for them is much faster.
_SIGNS = (
    *("[SQL: ", "[parameters: ", "Key (", "Failing row", "invalid input", "Duplicate entry '"),
    *(" value: '", "dup key: {", "full error: {"),
)


def without_values(text: str) -> str:
    """The text with `***` in place of the values that a database's driver put into it."""
    for sign in _SIGNS:  # no generator: this is asked of every text that is logged
        if sign in text:
            return _VALUES.sub(lambda found: (found[1] or "") + MASK, text)
    return text
