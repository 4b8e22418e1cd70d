"""What can be imported from the package."""

import types

import plainview


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
