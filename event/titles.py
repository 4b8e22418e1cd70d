"""Titles as values of a label: bounded in number and length, on one line, masked, none twice."""

import unicodedata
from collections.abc import Mapping
from itertools import count, islice

from plainview import mask_text

LENGTH = 80  # characters
Key = tuple[str, ...]


def label_values(titles: Mapping[Key, str], most: int, others: Key) -> dict[Key, str]:
    """The first `most` titles as label values; if there are more, `others` stands for the rest.

    Keys are (event,) or (reward, event). Panels group by title, so the second "Coupon" of an event
    becomes "Coupon (2)": in the order of the IDs, which is the same in every replica. An address
    or a token in a title is masked as in a log line.
    """
    chosen = dict(islice(titles.items(), most))
    found: dict[Key, str] = {}
    used: set[Key] = set()
    for key in sorted(chosen):
        plain = mask_text(_one_line(chosen[key])) or "untitled"
        numbered = (_cut(plain, f" ({number})" if number > 1 else "") for number in count(1))
        found[key] = next(title for title in numbered if (*key[1:], title) not in used)
        used.add((*key[1:], found[key]))
    return found | ({others: "others"} if len(titles) > most else {})


def _one_line(title: str) -> str:
    """Without control characters, invisible marks, and halves of surrogate pairs."""
    spaced = "".join(" " if char.isspace() else char for char in title)
    shown = "".join(char for char in spaced if unicodedata.category(char)[0] != "C")
    return " ".join(shown.split())


def _cut(title: str, end: str) -> str:
    whole = title + end
    return whole if len(whole) <= LENGTH else f"{title[: LENGTH - 1 - len(end)].rstrip()}…{end}"
