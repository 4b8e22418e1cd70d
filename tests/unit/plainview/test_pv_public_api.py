"""What can be imported from the package."""

import types

import plainview

# modules that share their name with what they hold must not hide it
SAME_NAME = {"observe", "guarded"}


def test_all_is_sorted_complete_and_importable():
    # constants, classes, functions, as ruff sorts
    order = sorted(plainview.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert plainview.__all__ == order
    public = {
        name
        for name, value in vars(plainview).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(plainview.__all__) == public - {"annotations"}


def test_names_are_documented_and_no_modules():
    for name in plainview.__all__:
        value = getattr(plainview, name)
        assert not isinstance(value, types.ModuleType), name
        if callable(value) and name != "LabelValues":
            assert value.__doc__, name
    assert set(plainview.__all__) >= SAME_NAME
