"""`.env.example` and the settings of the services name the same variables and defaults."""

import re
from pathlib import Path

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from auth.settings import Settings as Auth
from console.settings import ConsoleSettings
from demo.machine import PORTS
from event.settings import Settings as Event
from gateway.settings import Settings as Gateway
from seed.seeder import SeedSettings

CLASSES = (Gateway, Auth, Event, ConsoleSettings, SeedSettings)
OTHERS = {"OTEL_EXPORTER_OTLP_ENDPOINT", "AUTH_ADMIN_PASSWORD", "LOCAL_DIR", "OPS_PORT", "OPS_HOST"}


def documented() -> dict[str, str]:
    text = (Path(__file__).parents[3] / ".env.example").read_text()
    text = text.partition("# === a service by itself ===")[2]  # tests/ops looks at the first part
    rows = re.findall(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a variable stands there twice"
    return dict(rows)


def variables(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    names = alias.choices if isinstance(alias, AliasChoices) else [name]
    return [str(choice).upper() for choice in names if choice != "number"]


def test_same_names() -> None:
    fields = [row for cls in CLASSES for row in cls.model_fields.items()]
    read = {variable for name, field in fields for variable in variables(name, field)}
    assert set(documented()) == read | OTHERS | set(PORTS)


def test_same_defaults() -> None:
    shown = documented()
    compared = 0
    for cls in CLASSES:
        for name, field in cls.model_fields.items():
            variable = variables(name, field)[0]
            text, default = shown[variable], field.default
            if cls is SeedSettings and variable == "MONGO_DRIVER":
                continue  # writes a lot at once, which its own driver does better
            if text and isinstance(default, str | int | float | Path):
                compared += 1
                assert str(default) == text, variable
            if field.is_required():
                assert not text, variable
    assert compared > 40
    assert {name: str(port) for name, port in PORTS.items()}.items() <= shown.items()
