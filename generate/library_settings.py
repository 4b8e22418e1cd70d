"""The table of docs/plainview/settings.md: each setting of the library, from its declaration."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from generate.tables import filled
from plainview import ObservabilitySettings
from plainview.kit.documents import table

PAGE = Path("docs/plainview/settings.md")
SHOWN = 3  # values of a list; of more only their number and the ends


def _kind(annotation: Any) -> str:
    """What may be given, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if annotation is bool:
        return "switch"
    if annotation in (int, float):
        return "number"
    if annotation is str or "Secret" in str(annotation):
        return "text"
    if get_origin(annotation) is tuple:
        return "numbers, as JSON" if float in get_args(annotation) else "networks"
    (inner,) = (each for each in get_args(annotation) if each is not type(None))
    return _kind(inner)


def _default(value: Any) -> str:
    if value is None or value == ():
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"{len(value)} from {value[0]} to {value[-1]}" if len(value) > SHOWN else str(value)
    return f"`{value}`"


def _variables(name: str, field: FieldInfo) -> str:
    choices = getattr(field.validation_alias, "choices", ())
    names = dict.fromkeys([f"PLAINVIEW_{name.upper()}", *(str(c) for c in choices if c != name)])
    return ", ".join(f"`{each}`" for each in names)


def settings_table() -> str:
    """All settings; ValueError for one without a docstring below it."""
    rows = []
    for name, field in ObservabilitySettings.model_fields.items():
        if not field.description:
            raise ValueError(f"plainview/settings.py: {name} has no docstring below it")
        cells = (_kind(field.annotation), _default(field.default), field.description)
        rows.append((f"`{name}`", *cells, _variables(name, field)))
    return table(["Setting", "Values", "Default", "What", "Variables"], rows)


def generated() -> dict[Path, str]:
    """File and text."""
    return {PAGE: filled(PAGE, {"settings": settings_table()})}
