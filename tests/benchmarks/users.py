"""What counting users costs where requests are counted: the same records counted with and without, in one process, by turns.

    python tests/benchmarks/users.py [--records 500000] [--tenants 2000]

Records are those of `drain.py`, in the order of time, in batches of 5,000. A round is what a worker does before it sends: match, count, make
frames each second of the records' own time, encode them. The engine's part, which merges samples and keeps them, is in `drain.py --users`.
The best round of each counts: what disturbs a round only makes it slower.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from zlib import crc32

from harness import drawn, machine, table

from monitor.counting.chunk import Chunk, Reader
from monitor.counting.frame import encode
from monitor.counting.records import Records
from monitor.counting.users import Hashes
from monitor.local import traffic

BATCH = 5_000


def values(records: int, tenants: int, minutes: int, seed: int) -> list[bytes]:
    """Records of the last minutes, as `harness.backlog` sends them."""
    fleet, made = drawn(records, tenants, minutes, seed)
    return [value for block in traffic.records(fleet, made, seed) for value in block]


def round_of(batches: Sequence[Sequence[bytes]], hashes: Hashes | None, per_second: int) -> tuple[float, int]:
    """CPU seconds to count them all, and how many bytes of frames they make."""
    reader, chunk, upto, size = Reader({}, hashes), Chunk("auth-requests", 0, 1, 0), 0, 0
    now_ms, since = time.time_ns() // 1_000_000, 0
    begun = time.process_time()
    for batch in batches:
        reader.count(Records.of(batch), now_ms, chunk.counts)
        upto, since = upto + len(batch), since + len(batch)
        chunk.add(upto, len(batch), 0)
        if since >= per_second:
            frames = chunk.take().frames(lambda tenant: crc32(tenant.encode()) % 8, 8, now_ms, now_ms)
            size, since = size + sum(len(encode(frame)) for frame in frames), 0
    return time.process_time() - begun, size


def main() -> None:
    """Count by turns, print the best of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--tenants", type=int, default=2_000)
    parser.add_argument("--minutes", type=int, default=2, help="the last minutes they come from")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    made = values(options.records, options.tenants, options.minutes, options.seed)
    batches = [made[first : first + BATCH] for first in range(0, len(made), BATCH)]
    per_second = len(made) // (60 * options.minutes)
    found: dict[str, list[tuple[float, int]]] = {"users not counted": [], "users counted": []}
    for _ in range(options.rounds):
        for name, rounds in found.items():
            rounds.append(
                round_of(batches, Hashes("of this benchmark") if name == "users counted" else None, per_second)
            )
    best = {name: min(rounds) for name, rounds in found.items()}
    least = best["users not counted"][0]
    rows = [["", "CPU s", "records/CPU s", "us a record", "bytes of frames", "CPU"]]
    for name, (seconds, size) in best.items():
        rows.append([name, f"{seconds:.2f}", f"{len(made) / seconds:,.0f}", f"{1e6 * seconds / len(made):.2f}", f"{size:,}",
                     f"{seconds / least:.2f} x"])  # fmt: skip
    print(f"{len(made)} records of {options.tenants} tenants, {per_second} a second")
    table(rows)
    print(machine())


if __name__ == "__main__":
    main()
