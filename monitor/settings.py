"""All settings, their defaults and units, in one place: a TOML file under `MONITOR_*` of the environment. Reading them is this module's job.

The file is the one `MONITOR_CONFIG` names, else `monitor.toml` in the working directory when there is one. Every fault is named in one error,
an unknown key with the nearest known one.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

PREFIX = "MONITOR_"
CONFIG = "MONITOR_CONFIG"
LONGEST_SESSION_SECONDS = 20.0
"""The broker's answers are waited for that long, and it may be no shorter than a session."""


class SettingsError(ValueError):
    """Settings that cannot be used; the message names every fault, where it stands and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a worker and the commands are told. A mapping is written in the environment as `name=value,name=value`."""

    kafka_bootstrap: str = "127.0.0.1:9092"
    """Kafka's address, host:port, several with commas."""
    http_host: str = "127.0.0.1"
    """Where the worker serves /metrics, /live and /ready."""
    http_port: int = 8642
    group: str = "monitor"
    """The consumer group and the name of the Faust app."""
    instance: str = ""
    """This worker's name for static membership: a restart within the session keeps its partitions. Empty: none."""
    topic_prefix: str = ""
    """Stands before each topic's name, so that several monitors can share a broker."""
    sources: dict[str, str] = field(default_factory=lambda: {"auth-requests": "native"})
    """Topics with auth requests, each with its format."""
    codes: dict[str, str] = field(default_factory=dict)
    """Codes of failures and whose fault they are (server, client, external), over each format's own table."""
    partitions: int = 8
    """Partitions of the topics that `monitor topics apply` makes."""
    replicas: int = 1
    """Copies of each of them."""
    data_dir: str = ".monitor"
    """Where a worker keeps what it may lose."""
    flush_seconds: float = 3.0
    """How often counts go to the journal. Every second is a second fresher and, at 30,000 requests a second, takes two thirds more CPU."""
    checkpoint_seconds: float = 30.0
    """How often changed days are made durable."""
    clock: str = "machine"
    """What tells a worker the time: "machine", or "records", the newest timestamp read, to play recorded requests in their own time."""
    users_secret: str = ""
    """With it users are counted, by keyed hashes; the same for all workers. Empty: they are not, and statements lack that reading.
    Counting them takes a worker about three times the CPU (`counting.users` has the figures)."""
    at_risk_probability: float = 0.8
    """A month is announced as at risk when the chance of missing a threshold is at least this."""
    clear_probability: float = 0.5
    """What was announced is taken back when that chance has fallen under this."""
    hq_zone: str = "Europe/London"
    """The headquarters' IANA zone: the support desk's opening hours are read off its clocks."""
    hq_public_holidays: str = "GB-ENG"
    """Whose public holidays close the desk and are no business days, such as GB-ENG or US-NY. Empty: nobody's."""
    company_holidays: tuple[date, ...] = ()
    """Further days of that kind; in the environment with commas between them."""
    session_seconds: float = 6.0
    """After this long without a heartbeat a worker's partitions go to others; 20 at most."""
    prometheus_url: str = "http://127.0.0.1:9090"
    alertmanager_url: str = "http://127.0.0.1:9093"

    def __post_init__(self) -> None:
        faults = []
        if not self.sources:
            faults.append("sources: expected at least one topic")
        faults += [
            f"codes.{code}: expected server, client or external, found {fault!r}"
            for code, fault in self.codes.items()
            if fault not in ("server", "client", "external")
        ]
        for name in ("http_port", "partitions", "replicas", "flush_seconds", "checkpoint_seconds", "session_seconds"):
            if getattr(self, name) <= 0:
                faults.append(f"{name}: expected more than 0, found {getattr(self, name)}")
        if self.session_seconds > LONGEST_SESSION_SECONDS:
            faults.append(f"session_seconds: expected {LONGEST_SESSION_SECONDS} at most, found {self.session_seconds}")
        if not 0 < self.clear_probability <= self.at_risk_probability < 1:
            faults.append(
                f"clear_probability: expected 0 < clear <= at_risk < 1, found {self.clear_probability} and "
                f"at_risk_probability {self.at_risk_probability}"
            )
        if self.clock not in ("machine", "records"):
            faults.append(f'clock: expected "machine" or "records", found {self.clock!r}')
        if faults:
            raise ValueError("; ".join(faults))

    def topic(self, name: str) -> str:
        """The full name of one of our topics."""
        return self.topic_prefix + name

    @property
    def source_topics(self) -> dict[str, str]:
        """Full topic name to format."""
        return {self.topic(name): form for name, form in self.sources.items()}


KNOWN = {f.name: f.type for f in fields(Settings)}


def load(environ: Mapping[str, str] | None = None, directory: Path | None = None) -> Settings:
    """The settings in force; SettingsError names all faults. `environ` and `directory` default to the process's own."""
    environ = os.environ if environ is None else environ
    directory = Path.cwd() if directory is None else directory
    faults: list[str] = []
    values: dict[str, Any] = {}
    path = Path(environ[CONFIG]) if environ.get(CONFIG) else directory / "monitor.toml"
    if environ.get(CONFIG) and not path.is_file():
        faults.append(f"{CONFIG}: expected a file, found none at {path}")
    elif path.is_file():
        _from_file(path, values, faults)
    for name, text in environ.items():
        if name.startswith(PREFIX) and name != CONFIG:
            _from_environment(name, text, values, faults)
    good: dict[str, Any] = {}
    for key, value in values.items():
        try:
            good[key] = msgspec.convert(value, _TYPES[key], strict=False)
        except msgspec.ValidationError as error:
            faults.append(f"{key}: {error}, found {value!r}")
    try:
        settings = Settings(**good)
    except ValueError as error:
        faults.append(str(error))
    if faults:
        raise SettingsError("settings: " + "; ".join(faults))
    return settings


def _from_file(path: Path, values: dict[str, Any], faults: list[str]) -> None:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: expected TOML: {error}")
        return
    for key, value in found.items():
        if key in KNOWN:
            values[key] = value
        else:
            faults.append(f"{path}: unknown key {key!r}{_nearest(key, '')}")


def _from_environment(name: str, text: str, values: dict[str, Any], faults: list[str]) -> None:
    key = name.removeprefix(PREFIX).lower()
    if key not in KNOWN:
        faults.append(f"unknown variable {name}{_nearest(key, PREFIX)}")
    elif _TYPES[key] == dict[str, str]:
        pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
        if all(separator for _, separator, _ in pairs):
            values[key] = {left.strip(): right.strip() for left, _, right in pairs}
        else:
            faults.append(f"{name}: expected name=value,name=value, found {text!r}")
    elif _TYPES[key] == tuple[date, ...]:
        values[key] = [part.strip() for part in text.split(",") if part.strip()]
    else:
        values[key] = text


def _nearest(key: str, prefix: str) -> str:
    close = get_close_matches(key, KNOWN, n=1, cutoff=0.4)
    if not close:
        return ""
    return f", did you mean {prefix + close[0].upper() if prefix else close[0]!r}?"


_TYPES: dict[str, Any] = {
    name: {
        "str": str,
        "int": int,
        "float": float,
        "dict[str, str]": dict[str, str],
        "tuple[date, ...]": tuple[date, ...],
    }[str(kind)]
    for name, kind in KNOWN.items()
}
