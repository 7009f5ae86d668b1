"""Subject `throughput`: reading, mapping and posting N bills, each stage in a fresh process with its own peak memory."""

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass

from benchmarks import firm
from benchmarks.ground import Ground, open_ground
from benchmarks.report import Figure, Report
from benchmarks.stage import PROVE, STAGES, Measured

MEMORY_RATIO = 1.3
WORDS = {"read": "reading", "map": "mapping", "post": "posting"}


@dataclass(frozen=True)
class Way:
    """The stages of one size, and the proof after them."""

    bills: int
    stages: dict[str, Measured]
    proof: Measured


def measure(bills: int) -> Report:
    """Records a second and peak memory of each stage."""
    way = run_way(bills)
    figures = [figure for stage in STAGES for figure in _figures(way, stage)]
    total = sum(measured.seconds for measured in way.stages.values())
    figures.append(Figure("all three", way.bills / total, "bills/s"))
    figures += [
        Figure(f"proving {way.proof.bills:,} bills", way.proof.seconds, "s", ratio=way.proof.seconds / total,
               ratio_of="all three"),
        *(Figure(f"proving, calls to {vendor}", calls, "calls") for vendor, calls in way.proof.calls.items()),
        Figure("proving, peak memory", way.proof.megabytes, "MB"),
    ]  # fmt: skip
    return Report(
        "throughput",
        f"{bills:,} bills of 3 lines over 5 projects: read, mapped, posted and proved on the sandbox",
        figures,
        ["The sandbox works on the same cores: CPU is that of the stage's own process. Postgres runs without fsync."],
    )  # fmt: skip


def measure_memory(small: int, large: int) -> Report:
    """Peak memory and CPU a bill of each stage for two sizes, and their ratios."""
    ways = [run_way(small), run_way(large)]
    figures = []
    for stage in STAGES:
        low, high = (way.stages[stage].megabytes for way in ways)
        cpus = [way.stages[stage].cpu / way.bills * 1e6 for way in ways]
        figures += [
            Figure(f"{WORDS[stage]}, peak memory at {small:,} bills", low, "MB"),
            Figure(
                f"{WORDS[stage]}, peak memory at {large:,} bills",
                high,
                "MB",
                limit=MEMORY_RATIO * low,
                ratio=high / low,
                ratio_of=f"{small:,} bills",
            ),
            Figure(f"{WORDS[stage]}, own CPU a bill at {small:,} bills", cpus[0], "us"),
            Figure(
                f"{WORDS[stage]}, own CPU a bill at {large:,} bills",
                cpus[1],
                "us",
                ratio=cpus[1] / cpus[0],
                ratio_of=f"{small:,} bills",
            ),
        ]
    return Report("memory", f"Memory at {small:,} and at {large:,} bills", figures)


def run_way(bills: int) -> Way:
    """Link the vendors by a small run, then take `bills` bills the whole way. Raises RuntimeError for lost bills."""
    with open_ground() as ground:
        run_id = uuid.uuid4().hex
        for stage in STAGES:
            in_own_process(ground, stage, run_id)
        ground.load_bills(firm.bills(bills))
        run_id = uuid.uuid4().hex
        done = {stage: in_own_process(ground, stage, run_id) for stage in STAGES}
        proof = in_own_process(ground, PROVE, run_id)
    if any(measured.bills != bills for measured in done.values()):
        raise RuntimeError(f"of {bills} bills came through: { {k: v.bills for k, v in done.items()} }")
    return Way(bills, done, proof)


def in_own_process(ground: Ground, stage: str, run_id: str) -> Measured:
    """One stage as a child process. Raises CalledProcessError when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stage", stage, run_id],
        env=ground.site.environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _figures(way: Way, stage: str) -> list[Figure]:
    measured, word = way.stages[stage], WORDS[stage]
    return [
        Figure(word, way.bills / measured.seconds, "bills/s"),
        Figure(f"{word}, own CPU a bill", measured.cpu / way.bills * 1e6, "us", ratio=measured.cpu / measured.seconds,
               ratio_of="wall time"),
        Figure(f"{word}, peak memory", measured.megabytes, "MB", ratio=measured.megabytes / measured.megabytes_before,
               ratio_of="its imports alone"),
        Figure(f"{word}, calls", sum(measured.calls.values()), "calls"),
    ]  # fmt: skip
