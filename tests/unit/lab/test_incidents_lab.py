"""Which alerts of other faults the lab counts, and an account that cannot sign in."""

import pytest

from lab.incidents.lab import LASTING_S, Trial
from lab.incidents.places import LabError, Place
from seed.client import Client

SERIES = {'{service="gateway"}'}


@pytest.fixture
def trial() -> Trial:
    return Trial("mongo-down", "demo", before={"RedisDown": ['{service="auth"}']})


def test_another_alert_counts_when_it_lasts(trial: Trial) -> None:
    assert trial.note({"RedisDown": SERIES}, 0)
    assert not trial.others
    assert not trial.note({"RedisDown": SERIES}, LASTING_S)
    assert trial.others == {"RedisDown": sorted(SERIES)}


def test_one_that_was_true_for_a_moment_does_not_count(trial: Trial) -> None:
    assert trial.note({"RedisDown": SERIES}, 0)
    assert not trial.note({"RedisDown": set()}, 5)
    assert trial.note({"RedisDown": SERIES}, LASTING_S)
    assert not trial.others


def test_what_notifies_at_once_counts_at_once(trial: Trial) -> None:
    assert not trial.note({"ClaimInvariant": {"{}"}}, 0)
    assert trial.others == {"ClaimInvariant": ["{}"]}


def test_what_was_true_before_or_is_a_consequence_does_not_count(trial: Trial) -> None:
    found = {"RedisDown": {'{service="auth"}'}, "MongoFailures": SERIES, "NotReady": SERIES}
    for now in (0, LASTING_S, 2 * LASTING_S):
        assert not trial.note(found, now)
    assert not trial.others


def test_an_account_that_is_refused_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    place.accounts = {"USER": {"email": "user@example.com", "password": "of another database"}}
    monkeypatch.setattr(Client, "token", lambda *_: "")
    with pytest.raises(LabError, match="USER, user@example"):
        place.token("USER")
