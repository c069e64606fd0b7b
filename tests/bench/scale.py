"""`python -m tests.bench scale`: filestore beside other stores, from a thousand documents on.

Every peer is measured in turn in each round, each time in a fresh process, with the same
documents in a store that was filled once; the ratio is taken within the round.  What is written
meanwhile goes to a collection that nothing searches.  Nothing is deleted before the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.bench import curves, verdict
from tests.bench.peers import ALONE, LARGEST, PEERS, missing

ROOT: Final = Path(__file__).parents[2]
TOGETHER: Final = (4, 8)
PHASES: Final = ("cold", "reads", "writes", "together", "beside", "visibility", "memory", "yaml")

Figures = dict[str, float]


class Run:
    """One run; ``results[count][peer][row]`` has a figure a round."""

    def __init__(self, data: Path, options: argparse.Namespace) -> None:
        self.data = data
        self.options = options
        self.machine = machine(data)
        self.environment = _environment(data)
        self.results: dict[int, dict[str, dict[str, list[float]]]] = {}

    def measure(self, peers: list[str], sizes: list[int], rounds: int) -> None:
        for count in sizes:
            chosen = [peer for peer in peers if count <= LARGEST.get(peer, count)]
            for peer in set(peers) - set(chosen):
                say(f"{peer}: not asked to keep {count:,} documents")
            for peer in chosen:
                self._note(count, peer, self._load(peer, count))
            for turn in range(rounds):
                for peer in chosen if turn % 2 == 0 else reversed(chosen):
                    begin = time.perf_counter()
                    self._round(peer, count, turn)
                    say(f"{count:,}, round {turn + 1}: {peer}, {time.perf_counter() - begin:.0f} s")
                    self._save()  # a run may take hours

    def told(self) -> dict[str, Any]:
        """What was measured until now, and where."""
        after = [round(one, 1) for one in os.getloadavg()]
        return {
            "machine": {**self.machine, "load afterwards": after, "rounds": self.options.rounds},
            "results": {str(count): peers for count, peers in self.results.items()},
        }

    def _save(self) -> None:
        if self.options.out is not None:
            self.options.out.write_text(json.dumps(self.told(), indent=1) + "\n", "utf-8")

    def _load(self, peer: str, count: int) -> Figures:
        self._path(peer, count).mkdir(parents=True)
        figures = self._phase("load", peer, count, 0)
        os.sync()
        say(f"{count:,}: {peer} is filled, {figures.get('load', 0):.0f} s")
        return figures

    def _round(self, peer: str, count: int, turn: int) -> None:
        figures: Figures = {}
        for phase in self.options.phases:
            match phase:
                case "cold":
                    figures |= self._cold(peer, count, turn)
                case "together" if peer not in ALONE:
                    for many in TOGETHER:
                        figures |= self._together(peer, count, turn, many)
                case "beside" if peer not in ALONE and peer != "raw":
                    figures |= self._beside(peer, count, turn)
                case "visibility" if peer not in ALONE and peer != "raw":
                    figures |= self._phase(phase, peer, count, turn)
                case "yaml" if peer == "filestore":
                    figures |= self._phase(phase, peer, count, turn)
                case "reads" | "writes" | "memory":
                    figures |= self._phase(phase, peer, count, turn)
                case _:
                    pass
        self._note(count, peer, figures)

    def _cold(self, peer: str, count: int, turn: int) -> Figures:
        for phase in ("null", "cold_get", "cold_find"):
            if peer != "raw" or phase != "cold_find":
                self._phase(phase, peer, count, turn)  # leaves bytecode, and warm pages
        opened: dict[str, list[float]] = {"cold_get": [], "cold_find": []}
        whole, nothing = [], []
        for _ in range(self.options.repeats):
            nothing.append(self._spawned("null", peer, count, turn)[0])
            wall, figures = self._spawned("cold_get", peer, count, turn)
            if figures:
                whole.append(wall)
                opened["cold_get"].append(figures["took"])
            if peer != "raw" and (figures := self._phase("cold_find", peer, count, turn)):
                opened["cold_find"].append(figures["took"])
        told = {what: statistics.median(times) for what, times in opened.items() if times}
        if whole:
            # The least of each: the difference of two medians of processes is mostly noise.
            told["process"] = max(0.0, min(whole) - min(nothing))
        return told

    def _spawned(self, phase: str, peer: str, count: int, turn: int) -> tuple[float, Figures]:
        begin = time.perf_counter()
        figures = self._phase(phase, peer, count, turn)
        return time.perf_counter() - begin, figures

    def _together(self, peer: str, count: int, turn: int, many: int) -> Figures:
        commands = [
            self._command("writer", peer, count, turn, slot=many + slot) for slot in range(many)
        ]
        told = together(commands, peer, self.environment)
        if told is None:
            return {}
        return {
            f"together{many}": sum(one["rate"] for one in told),
            f"together{many}_p99": max(one["p99"] for one in told),
        }

    def _beside(self, peer: str, count: int, turn: int) -> Figures:
        told = together(
            [
                self._command("reader", peer, count, turn),
                self._command("writer", peer, count, turn, slot=1),
            ],
            peer,
            self.environment,
        )
        return {} if told is None else {"beside": told[0]["rate"]}

    def _phase(self, phase: str, peer: str, count: int, turn: int) -> Figures:
        done = subprocess.run(
            self._command(phase, peer, count, turn),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no word"]
            say(f"{peer}, {phase} FAILED: {lines[-1]}")
            return {}
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures

    def _command(self, phase: str, peer: str, count: int, turn: int, slot: int = 0) -> list[str]:
        options = {"budget": self.options.budget, "round": turn, "slot": slot}
        path = str(self._path(peer, count))
        words = [phase, peer, path, str(count), json.dumps(options)]
        python: str = self.options.cinderlib if peer == "cinderlib" else sys.executable
        return [python, "-m", "tests.bench.worker", *words]

    def _path(self, peer: str, count: int) -> Path:
        return self.data / f"{peer}-{count}"

    def _note(self, count: int, peer: str, figures: Figures) -> None:
        rows = self.results.setdefault(count, {}).setdefault(peer, {})
        for what, value in figures.items():
            rows.setdefault(what, []).append(value)


def _environment(data: Path) -> dict[str, str]:
    """For processes whose modules are compiled once, as installed ones are.

    In a cache of the run's own, whatever the surroundings say.
    """
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str((data / "bytecode").resolve())}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def together(
    commands: list[list[str]], peer: str, environment: dict[str, str]
) -> list[Figures] | None:
    """Run processes that begin at the same moment; None if one fails."""
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(
            each, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        for each in commands
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [process.communicate(timeout=300) for process in processes]
    except (BrokenPipeError, subprocess.TimeoutExpired) as error:
        say(f"{peer}, together FAILED: {error}")
        told = []
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if not told or any(process.returncode for process in processes):
        errors = [error.strip().splitlines()[-1] for _, error in told if error.strip()]
        say(f"{peer}, {len(commands)} processes together FAILED: {errors[:1]}")
        return None
    return [json.loads(out.splitlines()[-1]) for out, _ in told]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def machine(data: Path) -> dict[str, Any]:
    """Where it ran, and beside what else."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "load": [round(one, 1) for one in os.getloadavg()],
        "file system": _file_system(data),
    }


def _file_system(path: Path) -> str:
    best = ("", "")
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, point, kind, *_ = line.split()
            if f"{path.resolve()}/".startswith(f"{point.rstrip('/')}/") and len(point) >= len(
                best[0]
            ):
                best = (point, kind)
    return best[1]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench scale", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000], metavar="N")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--phases", nargs="+", default=list(PHASES), choices=list(PHASES))
    parser.add_argument("--cinderlib", default="", metavar="PYTHON", help="one that has cinderlib")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5, help="cold starts a round")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds a figure")
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--from", dest="earlier", type=Path, help="report these instead")
    parser.add_argument("--curves", type=Path, help="draw what should stay flat into this SVG")
    options = parser.parse_args(arguments)
    if options.earlier is not None:
        told = json.loads(options.earlier.read_text("utf-8"))
    else:
        told = _measured(options)
        if options.out is not None:
            options.out.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    if options.curves is not None:
        options.curves.write_text(curves.draw(told["results"]), "utf-8")
    print("\n".join(verdict.report(told)))
    return 1 if verdict.missed(told) else 0


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    peers = []
    for peer in options.peers:
        library = missing(peer)
        if peer == "cinderlib" and not options.cinderlib:
            say("cinderlib: left out, for no interpreter that has it is given (--cinderlib PYTHON)")
        elif library is None:
            peers.append(peer)
        else:
            say(f"{peer}: left out, for {library} is not installed (pip install --group bench)")
    if any(count % 20 for count in options.sizes):
        raise SystemExit("a size must be a multiple of 20")
    data = options.data / f"scale-{os.getpid()}"
    data.mkdir(parents=True)
    run = Run(data, options)
    try:
        run.measure(peers, options.sizes, options.rounds)
    finally:
        shutil.rmtree(data)
    return run.told()


if __name__ == "__main__":
    sys.exit(main())
