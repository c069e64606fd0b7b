"""Documents and Cinder's objects, there and back."""

import datetime as dt
import string

import cinderlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_versionedobjects import fields as ovo_fields

import filestore
from filestore.integrations.cinderlib import resources
from filestore.integrations.cinderlib.documents import plain
from filestore.model import Key
from filestore.resources.documents import moment, timestamp

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
moments = st.datetimes(timezones=st.just(dt.UTC))
BY_FIELD = [
    (ovo_fields.BaseEnumField, lambda field: st.sampled_from(field.valid_values)),
    (ovo_fields.BooleanField, lambda _: st.booleans()),
    (ovo_fields.IntegerField, lambda _: st.integers(-(2**63), 2**63 - 1)),
    (ovo_fields.DateTimeField, lambda _: moments),
    (ovo_fields.UUIDField, lambda _: st.uuids().map(str)),
    (ovo_fields.StringField, lambda _: texts),
    (ovo_fields.DictOfStringsField, lambda _: st.dictionaries(texts, texts, max_size=3)),
]


def values_of(field):
    for kind, strategy in BY_FIELD:
        if isinstance(field, kind):
            values = strategy(field)
            never_null = isinstance(field, ovo_fields.DictOfStringsField)
            return st.none() | values if field.nullable and not never_null else values
    # The dictionaries of connections.
    leaves = st.none() | st.booleans() | st.integers(0, 9) | texts
    return st.none() | st.dictionaries(texts, leaves | st.lists(leaves, max_size=2), max_size=3)


def objects_of(collection):
    ovo_class = resources.shape(collection).ovo_class
    stored = {
        name: values_of(field)
        for name, field in ovo_class.fields.items()
        if not isinstance(field, ovo_fields.ObjectField) and name not in ovo_class.obj_extra_fields
    }
    return st.fixed_dictionaries(stored).map(
        lambda values: ovo_class(cinderlib.objects.CONTEXT, **values)
    )


def values(ovo):
    """Everything an object has but its context."""
    return {
        name: value for name, value in vars(ovo).items() if name != "_context" and value is not ovo
    }


@pytest.mark.parametrize("collection", ["volumes", "snapshots", "connections"])
@given(data=st.data())
def test_an_object_comes_back_as_it_was(collection, data):
    ovo = data.draw(objects_of(collection))
    shape = resources.shape(collection)
    document = {name: value for name, value in shape.encode(ovo).items() if value is not None}
    key = Key(collection, ovo.id)
    quick = shape.decode(key, dict(document), cinderlib.objects.CONTEXT)
    slow = shape.decode_by_assignment(key, document, cinderlib.objects.CONTEXT)
    for name in document:
        assert getattr(quick, name) == getattr(ovo, name)
        assert type(getattr(quick, name)) is type(getattr(ovo, name))
    assert values(quick) == values(slow)
    assert not quick._changed_fields


@pytest.mark.parametrize("collection", ["volumes", "snapshots", "connections"])
def test_another_release_of_cinder_is_served_by_assignment(collection):
    class Later(resources.shape(collection).ovo_class):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._something_new = {}

    shape = resources.Shape(Later, ("snapshots", "volume_attachment", "volume"))
    assert not shape.transparent
    ovo = shape.decode(Key(collection, "x"), {"id": "y", "created_at": "2026-03-01"}, None)
    assert ovo.id == "x"
    assert ovo.created_at == dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    assert ovo._something_new == {}
    with pytest.raises(filestore.Corrupt):
        shape.decode(Key(collection, "x"), {"created_at": "yesterday"}, None)


@pytest.mark.parametrize("metadata", [{}, {"metadata": None}])
def test_metadata_that_is_not_there_is_empty(metadata):
    shape = resources.shape("volumes")
    for decode in (shape.decode, shape.decode_by_assignment):
        ovo = decode(Key("volumes", "x"), dict(metadata), None)
        assert ovo.metadata == ovo.admin_metadata == ovo.glance_metadata == {}
        ovo.metadata["a"] = "1"
        assert ovo.glance_metadata == {}
        ovo.obj_reset_changes()


def test_metadata_that_was_read_is_still_coerced_when_changed():
    shape = resources.shape("volumes")
    ovo = shape.decode(Key("volumes", "x"), {"metadata": {"a": "1"}, "size": 1}, None)
    ovo.metadata["b"] = 2
    assert ovo.metadata == {"a": "1", "b": "2"}
    with pytest.raises(ValueError):
        ovo.metadata["c"] = None


@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_times_are_utc_with_microseconds(when):
    aware = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
    try:
        aware.astimezone(dt.UTC)
    except OverflowError:  # the first and the last day of all
        return
    text = timestamp(when)
    assert moment(text) == aware.astimezone(dt.UTC)
    assert text.endswith("Z")
    assert len(text) == len("2026-03-01T08:15:30.250000Z")
    assert set(text) <= set(string.digits + "-:.TZ")


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2026-03-01T08:00:00Z", 8), ("2026-03-01T08:00:00", 8), ("2026-03-01T08:00:00+02:00", 6)],
)
def test_times_written_by_hand_are_understood(text, hour):
    assert moment(text) == dt.datetime(2026, 3, 1, hour, tzinfo=dt.UTC)


def test_plain_values_are_copies():
    inner = [1]
    value = {"a": inner, "t": (1, 2), "s": {"y", "x"}, "when": dt.datetime(2026, 3, 1)}  # noqa: DTZ001
    copy = plain(value)
    inner.append(2)
    assert copy == {
        "a": [1],
        "t": [1, 2],
        "s": ["x", "y"],
        "when": "2026-03-01T00:00:00.000000Z",
    }
