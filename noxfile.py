"""The project's checks: `nox` runs them all, `nox -l` lists them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
# The tests come last: what a run says last is how they went.
nox.options.sessions = [
    "lint",
    "types",
    "install",
    "lowest",
    "cinderlib",
    "manila",
    "postgresql",
    "tests",
]
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")
LIBRARIES = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
# Where each of the libraries is reached in every way; the other tests are long, and reach
# them in no way that these don't.
REACHING = [
    "tests/unit",
    "tests/engine",
    "tests/hostile",
    "tests/processes/test_locking.py",
    "tests/stateful",
    "tests/cli",
    "tests/docs",
]


def group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, name))


@nox.session
def lint(session: nox.Session) -> None:
    """Look for what ruff knows to be wrong, and at the formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    session.install("-e", ".", *group("types"), "nox")
    session.run("mypy")


@nox.session
def install(session: nox.Session) -> None:
    """Install as a user does, away from the sources, and run the main job."""
    session.install(".")
    with tempfile.TemporaryDirectory() as folder, session.chdir(folder):
        session.run("filestore", "demo", silent=True)
        session.run("python", "-c", "import filestore; filestore.open('state').close()")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests that need neither Cinder nor Manila, with branch coverage."""
    session.install("-e", ".", *group("test"))
    # Each test has a folder of its own and none is about time: they may run side by side.
    session.run("pytest", "-n", "auto", "--dist", "worksteal", "--cov", *session.posargs)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests that reach the libraries on the oldest ones that the project admits."""
    pins = [requirement.replace(">=", "==") for requirement in LIBRARIES]
    session.install("-e", ".", *group("test"), *pins)
    session.run("pytest", "-q", "-n", "auto", *REACHING, *session.posargs)


@nox.session
def cinderlib(session: nox.Session) -> None:
    """Run the plugin in real cinderlib, and the examples of the documentation that need it."""
    session.install("-e", ".[cinderlib]", *group("test"))
    session.run("pytest", "-q", "-m", "cinderlib", *session.posargs)


@nox.session
def manila(session: nox.Session) -> None:
    """Run driver private data in a real Manila, and the examples that need it."""
    session.install("-e", ".[manila]", *group("test"), *group("manila"))
    session.run("pytest", "-q", "-m", "manila", *session.posargs)


@nox.session
@nox.parametrize("sqlalchemy", ["1.4", "2"])
def postgresql(session: nox.Session, sqlalchemy: str) -> None:
    """Run the stores in databases on a real PostgreSQL server, with old and new SQLAlchemy."""
    if not any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        if os.geteuid() != 0:
            session.error("no PostgreSQL server: apt-get install postgresql, as root")
        session.run("apt-get", "update", "-q", external=True)
        session.run("apt-get", "install", "-y", "-q", "postgresql", external=True)
    if sqlalchemy == "1.4":
        pins = [requirement.replace(">=", "==") for requirement in EXTRAS["postgresql"]]
    else:
        pins = ["sqlalchemy>=2", "psycopg[binary]>=3.1"]
    session.install("-e", ".[postgresql]", *group("test"), *pins)
    session.run("pytest", "-q", "tests/sql", "tests/postgresql", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure against the raw system calls of the same run."""
    session.install("-e", ".")
    session.run("python", "-m", "tests.bench", *session.posargs)
