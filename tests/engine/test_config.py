"""The settings file: what is written is read, by hand or by us, and nonsense is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore.codec import codec_named, decode
from filestore.engine import config
from filestore.engine.config import Config, parse, with_fanout
from filestore.errors import Corrupt, UnsupportedFormat

PATH = "/store/filestore.yaml"


@pytest.mark.parametrize("codec", ["json", "yaml"])
@pytest.mark.parametrize("fanout", [0, 1, 2])
def test_settings_read_back(codec: str, fanout: int) -> None:
    settings = Config(codec, fanout, "5d1f0a3c-9b7e-4c52-a1d0-e8f6b3c2a190")
    assert parse(settings.encode(), PATH) == settings


def test_hand_edited_settings_may_be_any_yaml() -> None:
    raw = b"# our lab\nformat: 1\ncodec: 'yaml'   # readable\nid: \"a b\"\n"
    assert parse(raw, PATH) == Config("yaml", 0, "a b")


@pytest.mark.parametrize(
    "raw",
    [
        (
            b"codec: json\ncollections:\n  volumes:\n    index: [display_name, volume_id]\n"
            b"  driver/lvm1:\n    index: [a]\nfanout: 0\nformat: 1\nid: x\n"
        ),
        (
            b"codec: json\nfanout: 0\nformat: 1\n"
            b"id: 5d1f0a3c-9b7e-4c52-a1d0-e8f6b3c2a190\ncollections:\n"
            b"  volumes:\n    index: [display_name, volume_id]\n  driver/lvm1:\n    index: [a]\n"
        ),
        (
            b"codec: json\nformat: 1\nid: x\ncollections: {volumes: {index: [display_name,"
            b" volume_id, display_name], later: 5}, driver/lvm1: {index: ['a']},"
            b" snapshots: {}, nope: null}\n"
        ),
    ],
)
def test_fields_to_index_are_told_by_collection(raw: bytes) -> None:
    assert parse(raw, PATH).indexed == {
        "volumes": ("display_name", "volume_id"),
        "driver/lvm1": ("a",),
    }


def test_settings_as_in_the_example_need_no_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    example = (config.__doc__ or "").partition("Example::\n\n")[2].partition("\n\n``")[0]
    raw = "".join(f"{line[4:]}\n" for line in example.splitlines()).encode()
    expected = parse(raw, PATH)
    assert expected.indexed == {"volumes": ("display_name", "volume_id")}
    assert with_fanout(raw, 2, PATH) == raw.replace(b"fanout: 0", b"fanout: 2")
    monkeypatch.setattr("filestore.codec.codec_named", None)
    assert parse(raw, PATH) == expected


@given(
    st.lists(
        st.sampled_from(
            [
                "collections:",
                "  a:",
                "  b:",
                "  on:",
                "    index: [b, c]",
                "    index: [no]",
                "fanout: 1",
            ]
        )
    ).map(lambda lines: "\n".join(["codec: json", *lines, "format: 1", "id: 0", ""]))
)
def test_what_is_read_without_yaml_is_what_yaml_reads(text: str) -> None:
    plain = config._plain_fields(text.encode())
    if plain is not None:
        assert plain == decode(codec_named("yaml").parse(text.encode()))


def test_a_newer_format_is_told_apart() -> None:
    with pytest.raises(UnsupportedFormat, match=r"format 2.*install a newer") as caught:
        parse(b"codec: json\nfanout: 0\nformat: 2\nid: x\n", PATH)
    assert caught.value.path == PATH


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0\0",
        b"\xff\xfe",
        b"format: 1\n",
        b"codec: json\n",
        b"codec: toml\nformat: 1\nid: x\n",
        b"codec: json\nformat: 1\n",
        b"codec: json\nfanout: 3\nformat: 1\nid: x\n",
        b"codec: json\nfanout: true\nformat: 1\nid: x\n",
        b"codec: json\nformat: one\nid: x\n",
        b"codec: json\ncodec: yaml\nformat: 1\nid: x\n",
        b"codec: json\nformat: 1\nid: [x]\n",
        b"codec: json\nformat: 1\nid: x\ncollections: [volumes]\n",
        b"codec: json\nformat: 1\nid: x\ncollections: {volumes: {index: name}}\n",
        b"codec: json\nformat: 1\nid: x\ncollections: {volumes: {index: [5]}}\n",
        b"codec: json\nformat: 1\nid: x\ncollections: {volumes: 5}\n",
        b"[1, 2]\n",
        b"<<<<<<< HEAD\ncodec: json\n",
    ],
)
def test_nonsense_names_the_file(raw: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        parse(raw, PATH)
    assert PATH in str(caught.value)
    assert caught.value.path == PATH
