"""The console has words in both languages for every value that services put into lines."""

import re

import pytest

from console.render import LANGUAGES, WORDS
from event.errors import Refused
from event.states import Activity, Reason, RequestStatus
from shared.windows import WINDOWS


def refusals(of: type[Refused] = Refused) -> set[str]:
    """Codes of all claims that get nothing."""
    return {of.code} | {code for each in of.__subclasses__() for code in refusals(each)}


SAID = {
    "statuses": {*RequestStatus, "refused"},
    "reasons": {
        reason.value
        for reason in Reason
        # the first two are not shown as reasons, the third is nobody's answer
        if reason not in (Reason.NONE, Reason.OPERATOR, Reason.TECHNICAL)
    },
    "codes": refusals() - {Refused.code},
    "activities": {activity.value for activity in Activity},
    "windows": {f"active_{window}" for window in WINDOWS},
}


@pytest.mark.parametrize("kind", SAID)
def test_there_are_words_for_every(kind: str) -> None:
    assert SAID[kind] <= set(WORDS), SAID[kind] - set(WORDS)


def test_every_text_is_there_in_all_languages_with_the_same_values() -> None:
    for key, texts in WORDS.items():
        assert len(texts) == len(LANGUAGES), key
        assert all(text.strip() for text in texts), key
        assert len({frozenset(re.findall(r"\{(\w+)\}", text)) for text in texts}) == 1, key


def test_the_reason_of_a_refusal_is_a_label_of_its_metric() -> None:
    for refusal in (Refused, *Refused.__subclasses__()):
        assert isinstance(refusal.reason, Reason), refusal
