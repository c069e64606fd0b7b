"""The settings file: what is written is read, by hand or by us, and nonsense is refused."""

from __future__ import annotations

import pytest

from filestore.engine.config import Config, parse
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
        b"[1, 2]\n",
        b"<<<<<<< HEAD\ncodec: json\n",
    ],
)
def test_nonsense_names_the_file(raw: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        parse(raw, PATH)
    assert PATH in str(caught.value)
    assert caught.value.path == PATH
