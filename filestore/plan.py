"""What it takes to give a store the documents of another place.  Pure.

A plan says of each document what it is to become and which etag it was seen with, so that
whoever carries it out later can tell whether it still fits: also for the documents that
were found as they should be, since a plan is a promise of what there will be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from filestore.codec import canonical, decode
from filestore.codec.etag import etag_of
from filestore.comparison import pairs
from filestore.diff import diff
from filestore.errors import InvalidDocument, UnsupportedFormat
from filestore.model import Key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from filestore.diff import Diff
    from filestore.model import Document, Etag, Revision

FORMAT: Final = 1


class Documents(Protocol):
    """Collections by name: a store, a moment of one, or a dict of dicts."""

    def __iter__(self) -> Iterator[str]: ...

    def __getitem__(self, collection: str, /) -> Mapping[str, Document]: ...


class Step(NamedTuple):
    """What one document becomes; None is no document.

    ``etag`` is what it was seen with.  ``before`` is None too in a plan that was read back.
    """

    key: Key
    etag: Etag | None
    before: bytes | None
    after: bytes | None

    @property
    def kind(self) -> str:
        """``create``, ``update`` or ``delete``."""
        return "create" if self.etag is None else "delete" if self.after is None else "update"

    @property
    def diff(self) -> Diff:
        """The fields that differ."""
        return diff(
            None if self.before is None else decode(self.before),
            None if self.after is None else decode(self.after),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes, and what stays as it was seen.  Made by :meth:`filestore.Store.plan`.

    ``revision``: the store's when the plan was made.
    """

    revision: Revision
    steps: tuple[Step, ...]
    unchanged: Mapping[Key, Etag] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many documents are created, updated, deleted and left as they are."""
        counts = {"create": 0, "update": 0, "delete": 0, "unchanged": len(self.unchanged)}
        for step in self.steps:
            counts[step.kind] += 1
        return counts

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which :meth:`from_json` makes the plan again."""
        unchanged: dict[str, dict[str, Etag]] = {}
        for key, etag in self.unchanged.items():
            unchanged.setdefault(key.collection, {})[key.id] = etag
        return {
            "plan": FORMAT,
            "revision": self.revision,
            "steps": [_step_value(step) for step in self.steps],
            "unchanged": unchanged,
        }

    @classmethod
    def from_json(cls, value: object) -> Plan:
        """Raises InvalidDocument for what is no plan, UnsupportedFormat for a newer one's."""
        if (
            not isinstance(value, dict)
            or type(value.get("plan")) is not int
            or value["plan"] < FORMAT
        ):
            raise InvalidDocument("this is no plan: filestore apply SOURCE --plan FILE makes one")
        if value["plan"] > FORMAT:
            raise UnsupportedFormat(
                f"the plan has format {value['plan']}, this version of filestore knows format"
                f" {FORMAT}: install a newer filestore"
            )
        try:
            steps = tuple(_step(one) for one in value["steps"])
            unchanged = {
                Key(str(collection), str(id)): str(etag)
                for collection, etags in value["unchanged"].items()
                for id, etag in etags.items()
            }
            return cls(int(value["revision"]), steps, unchanged)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidDocument(
                f"the plan is not whole ({type(error).__name__}: {error}): make it again"
            ) from error


def make(
    revision: Revision, current: Documents, wanted: Documents, *, delete: bool = False
) -> Plan:
    """The plan that gives ``current`` the documents of ``wanted``.

    ``delete``: what is not in ``wanted`` goes, in the collections that ``wanted`` has; else it
    stays.  Raises InvalidDocument for what cannot be stored.
    """
    steps: list[Step] = []
    unchanged: dict[Key, Etag] = {}
    for collection in sorted(wanted):
        there, here = wanted[collection], current[collection]
        deletes: list[Step] = []
        for id, before, after in pairs(collection, here, there, None if delete else there):
            if isinstance(after, Exception):
                raise after
            if isinstance(before, Exception):
                raise before
            key, etag = Key(collection, id), None if before is None else etag_of(before)
            if after is None:
                if delete and before is not None:  # else it went while it was read
                    deletes.append(Step(key, etag, before, None))
            elif after != before:
                steps.append(Step(key, etag, before, after))
            elif etag is not None:
                unchanged[key] = etag
        steps += deletes
    return Plan(revision, tuple(steps), unchanged)


def _step_value(step: Step) -> dict[str, Any]:
    value: dict[str, Any] = {
        "collection": step.key.collection,
        "id": step.key.id,
        "kind": step.kind,
        "etag": step.etag,
    }
    if step.after is not None:
        value["document"] = decode(step.after)
    if step.kind == "update":
        value["diff"] = step.diff.to_json()
    return value


def _step(value: dict[str, Any]) -> Step:
    key = Key(str(value["collection"]), str(value["id"]))
    etag = value["etag"]
    if etag is not None and not isinstance(etag, str):
        raise TypeError(f"{key}: etag must be text")
    after = canonical(value["document"]) if "document" in value else None
    if after is None and etag is None:
        raise ValueError(f"{key}: neither etag nor document")
    return Step(key, etag, None, after)
