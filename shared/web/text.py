"""Patterns for texts that users write, for pydantic and OpenAPI.

They refuse control characters, which can break lines of logs and mails, and the marks that change
the direction of writing, which make a text look like another one.
"""

_TURNING = r"\u2028-\u202e\u2066-\u2069"
#: one line: no control character at all
LINE = rf"^[^\u0000-\u001f\u007f-\u009f{_TURNING}]*$"
#: a text of several lines: line feeds and tabs are fine
LINES = rf"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f{_TURNING}]*$"
