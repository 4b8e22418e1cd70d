"""What passwords may be, and that hashing them is bounded."""

import asyncio
import threading
import time

import argon2
import pytest
from argon2 import PasswordHasher, extract_parameters

from auth import signals
from auth.passwords import Passwords, refuse_common
from plainview.testing import metric_delta
from shared.errors import Invalid, Unavailable
from tests.support.waiting import soon


@pytest.mark.parametrize(
    "password",
    ["password", "PassWord", "password2026!", "12345678", "87654321", "abcdefgh", "zzzzzzzz",
     "qwertyuiop", "iloveyou", "ann@example.com", "Annabelle Lee", "correct horse battery staple"],
)  # fmt: skip
def test_what_anybody_would_try_is_refused(password: str) -> None:
    with pytest.raises(Invalid):
        refuse_common(password, "ann@example.com", "Annabelle Lee")


@pytest.mark.parametrize(
    "password", ["tall blue giraffes", "ㅂㅈㄷㄱ쇼ㅕㅑㅐ", "8 words!", "aaaaaaab", "x" * 60 + "y"]
)
def test_no_rules_of_composition(password: str) -> None:
    refuse_common(password, "ann@example.com", "Annabelle Lee")


async def test_hashes_are_argon2id_of_at_least_19_mib() -> None:
    passwords = Passwords(threads=1)
    encoded = await passwords.hash("tall blue giraffes")
    parameters = extract_parameters(encoded)
    assert parameters.type is argon2.Type.ID
    assert parameters.memory_cost >= 19 * 1024
    assert (parameters.time_cost, parameters.parallelism) == (2, 1)
    assert (await passwords.verify(encoded, "tall blue giraffes")).fits
    assert not (await passwords.verify(encoded, "tall blue giraffe")).fits


async def test_the_same_characters_are_the_same_password() -> None:
    passwords = Passwords(memory_kib=8, time_cost=1)
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    assert (await passwords.verify(await passwords.hash(composed), decomposed)).fits


async def test_an_outdated_hash_is_replaced_when_the_password_is_known() -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("tall blue giraffes")
    passwords = Passwords(memory_kib=16, time_cost=1)
    verdict = await passwords.verify(old, "tall blue giraffes")
    assert verdict.fits
    assert verdict.new_hash
    assert (await passwords.verify(verdict.new_hash, "tall blue giraffes")) == (True, None)
    assert (await passwords.verify(old, "something else")) == (False, None)


@pytest.mark.parametrize("stored", [None, "", "rubbish", "$argon2id$v=19$broken"])
async def test_without_a_usable_hash_nothing_fits(stored: str | None) -> None:
    passwords = Passwords(memory_kib=8, time_cost=1)
    assert not (await passwords.verify(stored, "tall blue giraffes")).fits


async def test_few_at_once_few_wait_and_the_rest_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords(threads=2, wait_s=60, memory_kib=8, time_cost=1)
    passwords.each_s = 40  # so the third that waits would begin after 60 s, a fourth after 80
    running, most, gate = 0, 0, threading.Event()
    lock = threading.Lock()

    def slow(stored: str | None, password: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(30)
        with lock:
            running -= 1
        return "done"

    monkeypatch.setattr(passwords, "_verify", slow)
    tasks = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(10)]
    await soon(lambda: running >= 2)
    await asyncio.sleep(0.05)  # a third one would begin now
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results.count("done") == 5
    refusals = [result for result in results if isinstance(result, Unavailable)]
    assert len(refusals) == 5
    assert {refusal.retry_after for refusal in refusals} == {80}
    assert most == 2
    monkeypatch.undo()
    assert not (await passwords.verify(None, "x")).fits  # room again


async def test_who_waited_longer_than_expected_is_not_hashed_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords(threads=1, wait_s=0.2, memory_kib=8, time_cost=1)
    hashed, gate = [], threading.Event()

    def slow(stored: str | None, password: str) -> str:
        hashed.append(password)
        gate.wait(30)
        return "done"

    monkeypatch.setattr(passwords, "_verify", slow)
    with metric_delta(signals._password_hashes, outcome="late") as late:
        tasks = [asyncio.create_task(passwords.verify(None, name)) for name in ("a", "b", "c")]
        await asyncio.sleep(0.3)
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == "done"
    assert all(isinstance(result, Unavailable) for result in results[1:])
    assert hashed == ["a"]
    assert late.value == 2
    with metric_delta(signals._password_hashes, outcome="done") as done:
        assert await passwords.verify(None, "d") == "done"  # type: ignore[comparison-overlap]
    assert done.value == 1


async def test_after_a_slow_time_sign_ins_are_possible_again() -> None:
    passwords = Passwords(threads=1, wait_s=1, memory_kib=8, time_cost=1)
    passwords.each_s = 1000
    for _ in range(100):  # nobody is before it, so it is tried, and found to be quick
        await passwords.verify(None, "x")
    assert passwords.each_s < 1


async def test_the_event_loop_goes_on_while_hashing() -> None:
    passwords = Passwords(threads=1, time_cost=20)
    shares: list[float] = []  # of the longest stop in the whole; in CPU time, which no pause uses
    while len(shares) < 5 and min(shares, default=1.0) >= 1 / 3:
        # again, since a busy machine may let the loop wait; a loop that hashes stops each time
        longest, last = 0.0, time.process_time()
        task = asyncio.create_task(passwords.hash("tall blue giraffes"))
        start = time.process_time()
        while not task.done():
            await asyncio.sleep(0)
            now = time.process_time()
            longest, last = max(longest, now - last), now
        shares.append(longest / (time.process_time() - start))
    assert min(shares) < 1 / 3
