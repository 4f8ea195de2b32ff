"""Log formats by name: each with its code table and, unless its records are native requests already, its adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Protocol

from monitor.counting.request import Rejected
from monitor.sources import freeradius, native
from monitor.sources.decisions import read_decision

FORMATS: Mapping[str, ModuleType] = MappingProxyType({"native": native, "freeradius": freeradius})
"""Modules with `CODES` (code of a failure to fault) and, where records are not native, `requests`."""


class Adapter(Protocol):
    """A format's records as native ones."""

    def requests(self, values: Sequence[bytes | None]) -> list[bytes | Rejected | None]:
        """Native bytes for each record in order; Rejected for one that cannot be read, None for one that is no request."""


def _named(form: str) -> ModuleType:
    found = FORMATS.get(form)
    if found is None:
        raise ValueError(f"sources: expected a format of {', '.join(FORMATS)}, found {form!r}")
    return found


def adapter(form: str) -> Adapter | None:
    """The adapter of a format, None when its records are native; ValueError for an unknown one."""
    found = _named(form)
    return found if hasattr(found, "requests") else None


def codes(form: str) -> Mapping[str, str]:
    """Whose fault each code is (server, client, external); ValueError for an unknown format."""
    table: Mapping[str, str] = _named(form).CODES
    return table


__all__ = ["FORMATS", "Adapter", "adapter", "codes", "read_decision"]
