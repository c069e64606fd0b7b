"""What is installed: quick to import, complete, typed, and running away from its sources."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import types
import zipfile
from pathlib import Path

import pytest

import filestore
from tests.bench.peers import FINDING, MODULES

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LATE = ("filelock", "watchdog", "deepdiff", "yaml", "rich", "click", "ctypes")


def python(code: str, *paths: Path, cwd: Path = ROOT) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(target: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("name", LATE)
def test_import_leaves_slow_libraries_to_their_first_use(name: str) -> None:
    code = f"import filestore, sys; print({name!r} in sys.modules)"
    assert python(code) == "False\n"


def test_import_leaves_the_cinderlib_interface_to_its_first_use() -> None:
    code = (
        "import filestore, sys\n"
        "print([name for name in sys.modules if name.startswith('filestore.')])\n"
        "filestore.setup()\n"
        "print('sqlalchemy' in sys.modules)\n"
    )
    imported, sql = python(code).splitlines()
    assert "filestore.resources" not in imported
    assert "filestore.persistence" not in imported
    assert sql == "False"


def test_a_store_in_memory_needs_no_slow_library() -> None:
    code = (
        "import filestore, sys\n"
        "with filestore.open('memory:') as store:\n"
        "    store['volumes']['a'] = {'size': 1}\n"
        "    store['volumes']['a']\n"
        f"print([name for name in {LATE!r} if name in sys.modules])\n"
    )
    assert python(code) == "[]\n"


HEAVY = (
    "ctypes",
    "filelock",
    "logging",
    "socket",
    "subprocess",
    "watchdog",
    "filestore.change",
    "filestore.codec.yaml",
    "filestore.diff",
    "filestore.engine.commit",
    "filestore.engine.creation",
    "filestore.engine.feed",
    "filestore.engine.journal",
    "filestore.engine.mounts",
    "filestore.engine.record",
    "filestore.engine.recorder",
    "filestore.engine.recovery",
    "filestore.engine.shelf",
    "filestore.engine.watcher",
    "filestore.engine.works",
    "filestore.index",
    "filestore.merge",
    "filestore.plan",
    "filestore.problem",
    "filestore.resources",
    "filestore.retention",
)


def test_a_get_in_an_orderly_store_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    with filestore.open(tmp_path) as store:
        store["volumes"]["a"] = {"size": 1}
    code = (
        "import sys, filestore\n"
        "from filestore.engine import lookout\n"
        "lookout.START_SECONDS = 3600  # however slowly this runs\n"
        f"with filestore.open({str(tmp_path)!r}) as store:\n"
        "    assert store['volumes']['a'] == {'size': 1}\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert python(code) == "[]\n"


def test_what_the_benchmark_of_cold_starts_loads_beforehand_is_all_that_is_loaded(
    tmp_path: Path,
) -> None:
    with filestore.open(tmp_path) as store:
        store["volumes"].update({f"v{n}": {"name": f"n{n}"} for n in range(1500)})
        store["volumes"].find(name="n7")
    code = (
        "import sys, importlib, filestore\n"
        "from filestore.engine import lookout\n"
        "lookout.START_SECONDS = 3600  # however slowly this runs\n"
        f"for name in {MODULES['filestore']!r}: importlib.import_module(name)\n"
        "before = {*sys.modules}\n"
        f"with filestore.open({str(tmp_path)!r}) as store:\n"
        "    store['volumes']['v7']\n"
        "    print(sorted({*sys.modules} - before))\n"
        f"for name in {FINDING['filestore']!r}: importlib.import_module(name)\n"
        "before = {*sys.modules}\n"
        f"with filestore.open({str(tmp_path)!r}) as store:\n"
        "    assert len(store['volumes'].find(name='n7')) == 1\n"
        "    print(sorted({*sys.modules} - before))\n"
    )
    assert python(code).splitlines() == ["[]", "[]"]


def test_all_names_exist_and_are_there_once() -> None:
    assert sorted(set(filestore.__all__)) == sorted(filestore.__all__)
    assert [name for name in filestore.__all__ if not hasattr(filestore, name)] == []


def test_all_is_complete() -> None:
    public = {
        name
        for name, value in vars(filestore).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    # What importing `__future__`, `typing` and `importlib` leaves behind.
    public -= {"annotations", "TYPE_CHECKING", "Final", "import_module"}
    late = set(filestore._HOMES)
    assert public | late == set(filestore.__all__)
    assert late <= set(dir(filestore))


def test_every_public_name_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    assert [name for name in filestore.__all__ if f"`{name}`" not in text] == []


def test_every_document_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    documents = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]
    assert [name for name in documents if f"]({name})" not in text] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        filestore.nope  # type: ignore[attr-defined]  # noqa: B018  # looking is the test


def test_every_error_is_public() -> None:
    from filestore import errors

    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, filestore.FilestoreError)
    }
    assert raised <= set(filestore.__all__)


def test_version_is_the_package_s() -> None:
    assert filestore.__version__ == PROJECT["version"]


def test_wheel_contains_the_package_whole(wheel: Path) -> None:
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "filestore").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert sources <= names
    assert "filestore/py.typed" in names


def test_wheel_contains_the_demonstration_s_lab(wheel: Path) -> None:
    lab = ROOT / "fixtures" / "lab"
    files = {path.relative_to(lab).as_posix() for path in lab.rglob("*") if path.is_file()}
    assert files
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"filestore/_lab/{name}" for name in files} <= names


def test_wheel_contains_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {"filestore", f"filestore-{filestore.__version__}.dist-info"}


def test_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    packed = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / f"filestore-{filestore.__version__}"
    again = build("wheel", source, tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_wheel_carries_licence_and_entry_points(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"filestore-{filestore.__version__}.dist-info"
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()
    assert "[cinderlib.persistence.storage]\nfilestore = " in entry_points
    assert "[console_scripts]\nfilestore = filestore.cli:main" in entry_points


def test_installed_wheel_keeps_documents(installed: Path, tmp_path: Path) -> None:
    code = (
        "import filestore\n"
        "with filestore.open('state') as store:\n"
        "    store['volumes']['a'] = {'size': 1}\n"
        "with filestore.open('state') as store:\n"
        "    print(filestore.__file__, store['volumes']['a'])\n"
    )
    told = python(code, installed, cwd=tmp_path)
    assert told == f"{installed / 'filestore' / '__init__.py'} {{'size': 1}}\n"


def test_installed_wheel_runs_the_demonstration(installed: Path, tmp_path: Path) -> None:
    code = "import sys; from filestore.cli import main; sys.argv = ['filestore', 'demo']; main()"
    assert python(code, installed, cwd=tmp_path)


def test_lowest_versions_are_named_for_every_dependency() -> None:
    assert [line for line in PROJECT["dependencies"] if ">=" not in line] == []
