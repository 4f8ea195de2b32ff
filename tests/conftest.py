"""What all tests share: the real Kafka, unique names, and programs that a test cannot do without."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.local import kafka as local_kafka
from monitor.local.processes import stop

# Helpers that several test folders share are modules of tests/support.
sys.path.insert(0, str(Path(__file__).parent))

PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "freeradius": "freeradius",
    "radclient": "freeradius-utils",
    "chromium": "chromium",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        absent = [program for program in mark.args if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")]
        if absent:
            packages = " ".join(sorted({PACKAGES.get(program, program) for program in absent}))
            why = f"{item.nodeid} needs {', '.join(absent)}: apt-get install {packages}"
            if os.environ.get("CI") == "true":
                pytest.fail(why, pytrace=False)
            pytest.skip(why)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of one real broker for the whole run."""
    running = local_kafka.up(tmp_path_factory.mktemp("kafka"))
    yield f"127.0.0.1:{running.port}"
    stop(running)


@pytest.fixture
def unique() -> str:
    """A short string that no other test has, for names of topics and groups."""
    return uuid.uuid4().hex[:8]
