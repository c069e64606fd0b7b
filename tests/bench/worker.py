"""One phase for one peer, in a process of its own; what it measured goes to standard output.

::

    python -m tests.bench.worker PHASE PEER PATH COUNT OPTIONS

``tests.bench.scale`` starts it.  Times are in seconds.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import json
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tests.bench.handmade import Raw
from tests.bench.peers import FINDING, MODULES, PEERS, SCANNING, VOLUMES_ONLY, WORKING
from tests.bench.population import HOSTS, Resource, fresh, host, resource, resources, volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.bench.peers import Peer

    Figures = dict[str, Any]

T = TypeVar("T")

CHUNK: Final = 1000
SLOW: Final = 0.001
MOST_A_SECOND: Final = 20_000  # puts that a process may get done
INNER: Final = 100  # calls a sample where the clock would cost as much as what it measures


class Work:
    """What a phase is told."""

    def __init__(self, peer: str, path: str, count: int, options: dict[str, Any]) -> None:
        self.name = peer
        self.path = path
        self.count = count
        self.budget = float(options.get("budget", 0.5))
        self.round = int(options.get("round", 0))
        self.slot = int(options.get("slot", 0))
        self.chance = random.Random(self.round)

    def open(self, *, durable: bool = True) -> Peer:
        return PEERS[self.name](self.path, durable=durable)

    def some(self, many: int) -> list[int]:
        """Volumes to read, drawn anew in each round."""
        return self.chance.choices(volumes(self.count), k=many)

    def fresh(self, kind: int) -> Iterator[Resource]:
        """Resources that no process of this run writes but this one."""
        start = 1 << 40 | self.round << 32 | kind << 28 | self.slot << 24
        return map(fresh, itertools.count(start))


def load(work: Work) -> Figures:
    begin = time.perf_counter()
    peer = work.open(durable=False)
    for chunk in chunks(resources(work.count), CHUNK):
        peer.put_many(chunk)
    peer.close()
    return {"load": time.perf_counter() - begin}


def null(_: Work) -> Figures:
    return {}


def cold_get(work: Work) -> Figures:
    _import(MODULES[work.name])
    return _cold(work, lambda peer, one: peer.get("volumes", one.id))


def cold_find(work: Work) -> Figures:
    _import((*MODULES[work.name], *FINDING.get(work.name, ())))
    return _cold(
        work, lambda peer, one: peer.find("volumes", "display_name", one.document["display_name"])
    )


def _cold(work: Work, act: Callable[[Peer, Resource], object]) -> Figures:
    one = resource(work.some(1)[0])
    begin = time.perf_counter()
    peer = work.open()
    found = act(peer, one)
    took = time.perf_counter() - begin
    assert found in (one.document, [one.document]) or _has_generation(found)
    return {"took": took}


def _has_generation(found: object) -> bool:
    """Whether it is a volume that an update of an earlier round has changed."""
    return "generation-" in repr(found)


def _import(modules: Iterable[str]) -> None:
    """Load what the peer is about to need, as a program that runs has."""
    for module in modules:
        importlib.import_module(module)


def reads(work: Work) -> Figures:
    peer = work.open()
    picks = [resource(index) for index in work.some(1000)]
    for one in picks:
        peer.get("volumes", one.id)
    found: Figures = {}
    ids = [one.id for one in picks[:INNER]]

    def gets(_: int) -> None:
        for id in ids:
            peer.get("volumes", id)

    found["get"] = middle(timed(gets, range(10_000), work.budget)) / INNER
    if work.name == "raw":
        return found
    names = [one.document["display_name"] for one in picks]
    parents = [resource(index - index % 20).id for index in work.some(1000)]

    def by_name(step: int) -> int:
        return len(peer.find("volumes", "display_name", names[step % 1000]))

    def by_parent(step: int) -> int:
        return len(peer.find("snapshots", "volume_id", parents[step % 1000]))

    def by_host(step: int) -> int:
        return len(peer.find("volumes", "host", host(step)))

    def everything(_: int) -> int:
        return len(peer.listing("volumes"))

    expected = {
        "find_one": (by_name, 1),
        "find_four": (by_parent, 4),
        "find_tenth": (by_host, work.count // 10),
        "list_all": (everything, work.count * 7 // 10),
    }
    for what, (act, many) in expected.items():
        if work.name in VOLUMES_ONLY and what in {"find_four", "find_tenth"}:
            continue
        if work.name in SCANNING and work.count > 10_000 and what in {"find_one", "find_four"}:
            continue  # as long as listing all
        # Each answer is read once before, as of a get; by looking at everything it is by one.
        quick = what in {"find_one", "find_four"} and work.name not in SCANNING
        for step in range(len(picks) if quick else HOSTS if what == "find_tenth" else 1):
            assert act(step) == many, what
        found[what] = middle(timed(act, range(1, 2000), work.budget, least=1))
    peer.close()
    return found


def writes(work: Work) -> Figures:
    peer = work.open()
    found: Figures = {}
    new = list(itertools.islice(work.fresh(1), 2000))
    batches = list(itertools.islice(chunks(work.fresh(2), CHUNK), 6))
    if isinstance(peer, Raw):
        peer.prepare([*new, *itertools.chain(*batches)])
    found["put_new"] = middle(timed(peer.put, new, work.budget))
    if work.name not in VOLUMES_ONLY:  # which has no transactions
        found["batch"] = middle(timed(peer.put_many, batches, work.budget * 2, least=2))
    if work.name == "raw":
        return found
    picks = work.some(1000)
    changed = [
        Resource("volumes", one.id, {**one.document, "replication_driver_data": _mark(work, step)})
        for step, one in enumerate(map(resource, picks))
    ]
    for _, id, _ in changed[:300]:
        peer.get("volumes", id)
    found["update"] = middle(timed(peer.put, changed, work.budget))
    if work.name in VOLUMES_ONLY:
        return found  # its unchanged puts raise, and leave its session unusable
    begin = time.perf_counter()
    peer.put(Resource("volumes", changed[0].id, peer.get("volumes", changed[0].id)))
    inner = INNER if time.perf_counter() - begin < SLOW else 3
    same = [Resource("volumes", id, peer.get("volumes", id)) for _, id, _ in changed[:inner]]

    def again(_: int) -> None:
        for one in same:
            peer.put(one)

    found["unchanged"] = middle(timed(again, range(200), work.budget, least=2)) / len(same)
    peer.close()
    return found


def _mark(work: Work, step: int) -> str:
    return f"generation-{work.round}-{work.slot}-{step}"


def memory(work: Work) -> Figures:
    """Bytes beyond what the libraries take."""
    for modules in (MODULES, FINDING, WORKING):
        _import(modules.get(work.name, ()))
    one = resource(0)
    gc.collect()
    before = _resident()
    peer = work.open()
    peer.get("volumes", one.id)
    opened = _resident()
    if work.name == "raw" or work.name in VOLUMES_ONLY:
        return {"memory_open": max(0, opened - before)}
    peer.find("volumes", "display_name", one.document["display_name"])
    peer.find("snapshots", "volume_id", one.id)
    peer.find("volumes", "host", host(1))
    peer.listing("volumes")
    gc.collect()
    after = _resident()
    peer.close()
    return {"memory_open": max(0, opened - before), "memory_used": max(0, after - before)}


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def writer(work: Work) -> Figures:
    """Durable puts for the budget, beginning when told, beside others."""
    peer = work.open()
    most = 200 + int(work.budget * MOST_A_SECOND)
    new = list(itertools.islice(work.fresh(3), most))
    if isinstance(peer, Raw):
        peer.prepare(new)
    peer.put(new.pop())
    _wait()
    begin = time.perf_counter()
    times = timed(peer.put, new, work.budget, spread=False)
    took = time.perf_counter() - begin
    peer.close()
    times.sort()
    return {"rate": len(times) / took, "p99": times[int(len(times) * 0.99)]}


def reader(work: Work) -> Figures:
    """Warm gets for the budget, beside a writer."""
    peer = work.open()
    ids = [resource(index).id for index in work.some(1000)]
    for id in ids:
        peer.get("volumes", id)
    _wait()
    calls = 0
    begin = time.perf_counter()
    while (took := time.perf_counter() - begin) < work.budget:
        for id in ids[:INNER]:
            peer.get("volumes", id)
        calls += INNER
    peer.close()
    return {"rate": calls / took}


def visibility(work: Work) -> Figures:
    """From being told that another process's put returned to having its value."""
    told, tell = os.pipe()
    go, start = os.pipe()
    one = resource(0)
    rounds = 60
    if os.fork() == 0:
        peer = work.open()
        for step in range(rounds):
            os.read(go, 1)
            document = {**one.document, "replication_driver_data": _mark(work, step)}
            peer.put(Resource("volumes", one.id, document))
            os.write(tell, b"x")
        os.read(go, 1)
        peer.close()
        os._exit(0)
    peer = work.open()
    peer.get("volumes", one.id)
    times = []
    for step in range(rounds):
        wanted = _mark(work, step)
        os.write(start, b"x")
        os.read(told, 1)
        begin = time.perf_counter()
        while peer.get("volumes", one.id)["replication_driver_data"] != wanted:
            pass
        times.append(time.perf_counter() - begin)
    os.write(start, b"x")
    os.wait()
    peer.close()
    return {"visibility": middle(times[5:])}


def yaml(work: Work) -> Figures:
    """Warm and cold gets from a store of YAML files, and pyyaml's C loader on the same."""
    import yaml as library

    from tests.bench.peers import Filestore

    many = [one for one in resources(400) if one.collection == "volumes"][:200]
    path = f"{work.path}/yaml-{work.round}"
    peer = Filestore(path, codec="yaml")
    peer.put_many(many)
    peer.close()
    files = [f"{path}/volumes/{one.id}.yaml" for one in many]
    loader = library.CSafeLoader

    def load_file(name: str) -> object:
        with open(name, "rb") as file:
            return library.load(file.read(), loader)

    peer = Filestore(path)
    cold = middle(timed(lambda one: peer.get("volumes", one.id), many, 60))
    c_loader = middle(timed(load_file, files, 60))
    warm = middle(timed(lambda _: [peer.get("volumes", one.id) for one in many], range(50), 60))
    peer.close()
    return {"yaml_cold": cold, "yaml_loader": c_loader, "yaml_warm": warm / len(many)}


def timed(
    act: Callable[[T], object],
    arguments: Iterable[T],
    budget: float,
    *,
    least: int = 3,
    spread: bool = True,
) -> list[float]:
    """What each call takes, until the budget is spent; without the garbage collector."""
    clock, times = time.perf_counter, []
    if spread:
        gc.collect()
        gc.disable()
    stop = clock() + budget
    for argument in arguments:
        begin = clock()
        act(argument)
        end = clock()
        times.append(end - begin)
        if end > stop and len(times) >= least:
            break
    gc.enable()
    return times


def middle(times: Sequence[float]) -> float:
    return sorted(times)[len(times) // 2]


def chunks(many: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(many)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _wait() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


PHASES: Final[dict[str, Callable[[Work], Figures]]] = {
    act.__name__: act
    for act in (
        load, null, cold_get, cold_find, reads, writes, memory, writer, reader, visibility, yaml,
    )
}  # fmt: skip


def main() -> None:
    phase, peer, path, count, options = sys.argv[1:]
    work = Work(peer, path, int(count), json.loads(options))
    print(json.dumps(PHASES[phase](work)))


if __name__ == "__main__":
    main()
