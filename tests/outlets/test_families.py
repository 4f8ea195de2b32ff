"""The table of metric families holds to the field's naming, and its selectors refuse what no series has."""

from __future__ import annotations

import re

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import CollectorRegistry

from monitor.engine.vitals import Vitals
from monitor.outlets import families
from monitor.outlets.collector import OwnCollector
from monitor.outlets.families import BORROWED, FAMILIES, READY, REQUESTS, UP, Family


def test_a_counter_ends_in_total_and_a_gauge_does_not() -> None:
    assert [f.name for f in FAMILIES + BORROWED if f.name.endswith("_total") != (f.type == "counter")] == []


def test_a_name_is_given_once() -> None:
    names = [f.name for f in FAMILIES + BORROWED]
    assert len(names) == len(set(names))


def test_no_family_of_the_module_is_left_out_of_the_tables() -> None:
    assert {f for f in vars(families).values() if isinstance(f, Family)} == set(FAMILIES + BORROWED)


def test_names_and_labels_are_what_prometheus_accepts() -> None:
    accepted = re.compile(r"[a-z][a-z0-9_]*[a-z0-9]")
    for family in FAMILIES:
        assert accepted.fullmatch(family.name), family
        assert all(accepted.fullmatch(label) for label in family.labels), family


def test_a_help_is_one_sentence_or_more_on_one_line() -> None:
    assert [f.name for f in FAMILIES if not f.help.endswith(".") or "\n" in f.help or "\\" in f.help] == []


def test_a_worker_exports_its_own_families_and_no_others() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(OwnCollector(Vitals()))
    exported = set(re.findall(r"^# TYPE (\S+)", generate_latest(registry).decode(), re.MULTILINE))
    assert exported == {f.name for f in FAMILIES if "tenant" not in f.labels}


def test_a_selector_names_its_labels_and_matchers() -> None:
    assert REQUESTS(tenant="acme", class_="!good") == 'sla_requests_total{tenant="acme",class!="good"}'
    assert UP(job="~mon.*", instance="!~x") == 'up{job=~"mon.*",instance!~"x"}'
    assert f"{READY} == 0" == "monitor_ready == 0"


def test_a_selector_refuses_a_label_that_no_series_has() -> None:
    with pytest.raises(
        ValueError, match="expected one of the labels tenant, portal, class, job, instance, found 'window'"
    ):
        REQUESTS(window="5m")
