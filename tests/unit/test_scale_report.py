"""What is said of a run at scale: targets, tables and curves, from figures made up here."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from tests.bench import curves, verdict
from tests.bench.population import BLOCK, VOLUMES, host, resource, resources, volumes

ROOT = Path(__file__).parents[2]


def told(put: list[float], theirs: list[float], rate: float = 3000.0) -> dict[str, Any]:
    ours = {"put_new": put, "together4": [rate], "unchanged": [4e-6], "get": [3e-6]}
    sqlite = {"put_new": theirs, "together4": [1000.0], "get": [9e-6]}
    peers = {"filestore": ours, "sqlite": sqlite, "raw": {"get": [2.5e-6]}}
    return {"machine": {"cores": 2}, "results": {"1000": peers, "100000": peers}}


def by_row(figures: dict[str, Any]) -> dict[tuple[str, str], verdict.Verdict]:
    found = verdict.verdicts(figures["results"]["1000"])
    return {(one.target.row, one.target.against): one for one in found}


def test_a_ratio_is_taken_within_the_round() -> None:
    one = by_row(told([1.0, 8.0, 3.0], [1.0, 4.0, 2.0]))["put_new", "sqlite"]
    assert one.ratios == (1.5, 1.0, 2.0)
    assert not one.kept


def test_what_was_not_measured_is_not_judged() -> None:
    assert set(by_row(told([1.0], [1.0]))) == {
        ("put_new", "sqlite"),
        ("together4", "sqlite"),
        ("unchanged", ""),
        ("get", "raw"),
    }


def test_a_rate_is_to_be_greater_and_a_time_smaller() -> None:
    kept = told([1.0], [1.0])
    assert not verdict.missed(kept)
    assert verdict.missed(told([1.3], [1.0]))
    assert verdict.missed(told([1.0], [1.0], rate=1400.0))


def test_the_report_is_a_table_of_targets_and_one_of_figures_for_each_size() -> None:
    text = "\n".join(verdict.report(told([300e-6], [100e-6])))
    assert "## 1,000 documents" in text
    assert "## 100,000 documents" in text
    assert (
        "| durable put, new | 300 us | 100 us sqlite | 3.00 (3.00-3.00) | at most 1.2 | MISSED |"
        in text
    )
    assert "| put, unchanged | 4 us |  |  | at most 5 us | kept |" in text
    assert "| warm get | 3 us | 9 us | 2.5 us |" in text


def test_the_curves_are_a_picture_with_a_line_for_each_peer() -> None:
    picture = ET.fromstring(curves.draw(told([1e-4], [2e-4])["results"]))
    space = "{http://www.w3.org/2000/svg}"
    words = [text.text for text in picture.iter(f"{space}text")]
    assert {"warm get", "durable put, new", "100,000", "filestore", "sqlite"} <= set(words)
    assert len(list(picture.iter(f"{space}polyline"))) == 5


def test_the_population_is_what_the_queries_expect() -> None:
    count = 20 * BLOCK
    everything = list(resources(count))
    kept = [one for one in everything if one.collection == "volumes"]
    assert len(kept) == len(volumes(count)) == count * VOLUMES // BLOCK
    assert sum(one.document["host"] == host(3) for one in kept) == count // 10
    parent = resource(BLOCK).id
    assert sum(one.document.get("volume_id") == parent for one in everything) == 4
    assert len({(one.collection, one.id) for one in everything}) == count


def test_the_harness_runs(tmp_path: Path) -> None:
    words = ["scale", "--sizes", "100", "--rounds", "1", "--budget", "0.01", "--repeats", "1"]
    words += ["--peers", "filestore", "cinderlib"]
    words += ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out.json")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode in {0, 1}, done.stderr
    assert "FAILED" not in done.stderr
    assert "cinderlib: left out" in done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())["results"]["100"]
    assert set(figures["filestore"]) == set(verdict.ROWS)
    assert list((tmp_path / "data").iterdir()) == []
    again = subprocess.run(
        [sys.executable, "-m", "tests.bench", "scale", "--from", str(tmp_path / "out.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert again.stdout == done.stdout
