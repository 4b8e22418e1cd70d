"""What passwords may be, and that hashing them is bounded."""

import asyncio
import threading
import time

import pytest

from auth import signals
from auth.passwords import Passwords, refuse_common
from plainview.testing import metric_delta
from shared.errors import Invalid, Unavailable
from shared.password_hash import Hasher
from tests.support.timing import in_time
from tests.support.waiting import soon

GIRAFFES = "tall blue giraffes"
CHEAP = Hasher(memory_kib=8, time_cost=1)


@pytest.mark.parametrize(
    "password",
    ["password", "PassWord", "password2026!", "12345678", "87654321", "abcdefgh", "zzzzzzzz",
     "qwertyuiop", "iloveyou", "ann@example.com", "Annabelle Lee", "correct horse battery staple"],
)  # fmt: skip
def test_what_anybody_would_try_is_refused(password):
    with pytest.raises(Invalid):
        refuse_common(password, "ann@example.com", "Annabelle Lee")


@pytest.mark.parametrize(
    "password", [GIRAFFES, "ㅂㅈㄷㄱ쇼ㅕㅑㅐ", "8 words!", "aaaaaaab", "x" * 60 + "y"]
)
def test_no_rules_of_composition(password):
    refuse_common(password, "ann@example.com", "Annabelle Lee")


async def test_hashes_are_argon2id_of_at_least_19_mib():
    passwords = Passwords(threads=1)
    encoded = await passwords.hash(GIRAFFES)
    assert encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await passwords.verify(encoded, GIRAFFES)).fits
    assert not (await passwords.verify(encoded, GIRAFFES[:-1])).fits


async def test_the_same_characters_are_the_same_password():
    passwords = Passwords(hasher=CHEAP)
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    assert (await passwords.verify(await passwords.hash(composed), decomposed)).fits


async def test_an_outdated_hash_is_replaced_when_the_password_is_known():
    old = CHEAP.hash(GIRAFFES)
    passwords = Passwords(hasher=Hasher(memory_kib=16, time_cost=1))
    verdict = await passwords.verify(old, GIRAFFES)
    assert verdict.fits
    assert (await passwords.verify(verdict.new_hash, GIRAFFES)) == (True, None)
    assert (await passwords.verify(old, "something else")) == (False, None)


@pytest.mark.parametrize("stored", [None, "", "rubbish", "$argon2id$v=19$broken"])
async def test_without_a_usable_hash_nothing_fits(stored):
    assert not (await Passwords(hasher=CHEAP).verify(stored, GIRAFFES)).fits


class Held:
    """Stands for the hashing, which takes until `gate` is set."""

    def __init__(self, monkeypatch, passwords):
        self.hashed, self.running, self.most = [], 0, 0
        self.gate, self._lock = threading.Event(), threading.Lock()
        monkeypatch.setattr(passwords, "_verify", self)

    def __call__(self, stored, password):
        with self._lock:
            self.hashed.append(password)
            self.running += 1
            self.most = max(self.most, self.running)
        self.gate.wait(30)
        with self._lock:
            self.running -= 1
        return "done"


async def test_few_at_once_few_wait_and_the_rest_is_refused(monkeypatch):
    passwords = Passwords(threads=2, wait_s=60, hasher=CHEAP)
    passwords.each_s = 40  # so the third that waits would begin after 60 s, a fourth after 80
    held = Held(monkeypatch, passwords)
    tasks = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(10)]
    await soon(lambda: held.running >= 2)
    await asyncio.sleep(0.05)  # a third one would begin now
    held.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results.count("done") == 5
    refusals = [result.retry_after for result in results if isinstance(result, Unavailable)]
    assert refusals == [80] * 5
    assert held.most == 2
    monkeypatch.undo()
    assert not (await passwords.verify(None, "x")).fits  # room again


async def test_who_waited_longer_than_expected_is_not_hashed_for(monkeypatch):
    passwords = Passwords(threads=1, wait_s=0.2, hasher=CHEAP)
    held = Held(monkeypatch, passwords)
    with metric_delta(signals.PASSWORD_HASHES, outcome="late") as late:
        tasks = [asyncio.create_task(passwords.verify(None, name)) for name in ("a", "b", "c")]
        await asyncio.sleep(0.3)
        held.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == "done"
    assert all(isinstance(result, Unavailable) for result in results[1:])
    assert (held.hashed, late.value) == (["a"], 2)
    with metric_delta(signals.PASSWORD_HASHES, outcome="done") as done:
        assert await passwords.verify(None, "d") == "done"
    assert done.value == 1


async def test_after_a_slow_time_sign_ins_are_possible_again():
    passwords = Passwords(threads=1, wait_s=1, hasher=CHEAP)
    passwords.each_s = 1000
    for _ in range(100):  # nobody is before it, so it is tried, and found to be quick
        await passwords.verify(None, "x")
    assert passwords.each_s < 1


async def test_the_event_loop_goes_on_while_hashing():
    passwords = Passwords(threads=1, hasher=Hasher(time_cost=20))

    async def share() -> float:
        """Of the longest stop in the whole; in CPU time, which no pause of the machine uses."""
        longest, last = 0.0, time.process_time()
        task = asyncio.create_task(passwords.hash(GIRAFFES))
        start = time.process_time()
        while not task.done():
            await asyncio.sleep(0)
            now = time.process_time()
            longest, last = max(longest, now - last), now
        return longest / (time.process_time() - start)

    await in_time(share, 1 / 3)
