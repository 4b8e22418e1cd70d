"""What a service declares about itself: its name, metrics, objectives and alerts."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from plainview.catalogue import Alert, Catalogue, Slo
from plainview.observe import Observability
from plainview.signals import LIBRARY_METRICS


@dataclass
class Declared:
    """The declarations, each once."""

    services: list[str] = field(default_factory=list)
    catalogues: list[Catalogue] = field(default_factory=list)
    slos: list[Slo] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)

    def add(self, found: Any) -> bool:
        """Take over what this object declares; False if it declares nothing."""
        if isinstance(found, FastAPI):
            return self.add(getattr(found.state, "observability", None))
        if isinstance(found, Observability):
            if found.settings.service_name not in self.services:
                self.services.append(found.settings.service_name)
            self.add(found.catalogue)
            return True
        kept: list[Any]
        if isinstance(found, Catalogue):
            kept = self.catalogues
        elif isinstance(found, Slo):
            kept = self.slos
        elif isinstance(found, Alert):
            kept = self.alerts
        elif isinstance(found, list | tuple):
            return bool([each for each in found if self.add(each)])
        else:
            return False
        if found is not LIBRARY_METRICS and not any(each is found for each in kept):
            kept.append(found)
        return True

    def without_doubles(self) -> Declared:
        """Objectives and alerts that are in a catalogue are not named a second time."""
        in_catalogues = {id(each) for c in self.catalogues for each in (*c.slos, *c.alerts)}
        self.slos = [slo for slo in self.slos if id(slo) not in in_catalogues]
        self.alerts = [alert for alert in self.alerts if id(alert) not in in_catalogues]
        return self


def declared(place: str) -> Declared:
    """What `module` or `module:name` declares; ValueError that says what is wrong with it.

    The module is imported, from the current folder too. `name` is an observed app, a Catalogue, an
    Slo, an Alert or a list of these; without a name everything of the module counts.
    """
    module_name, _, name = place.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the service's own code raises
        raise ValueError(f"cannot import {module_name}: {type(error).__name__}: {error}") from error
    found = Declared()
    if not name:
        for value in list(vars(module).values()):
            found.add(value)
        return found.without_doubles()
    try:
        value = getattr(module, name)
    except AttributeError:
        raise ValueError(f"{module_name} has no {name}") from None
    if not found.add(value):
        raise ValueError(
            f"{place} is neither an app after observe() nor a Catalogue, Slo or Alert: for an app"
            " that a function makes, name the module with its Catalogue"
        )
    return found.without_doubles()
