"""The comparison of libraries: what each showed is kept."""

import contextlib
from types import SimpleNamespace

from lab.troubles import compare


def test_the_output_of_a_library_is_kept_beside_its_environment(monkeypatch, tmp_path):
    served = SimpleNamespace(text="what it said")
    monkeypatch.setattr(compare, "serving", lambda *_, **__: contextlib.nullcontext(served))
    monkeypatch.setattr(compare, "_asked", lambda _: {"row": "cell"})
    monkeypatch.setattr(compare, "_told", lambda *_: "one two")
    found = compare.column(compare.WAYS[0], tmp_path / "shop" / "bin" / "python")
    assert (found["packages installed, all"], found["row"]) == ("2", "cell")
    assert (tmp_path / "shop.log").read_text() == "what it said"
