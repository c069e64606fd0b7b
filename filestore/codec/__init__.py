"""Documents as bytes: canonical bytes inside the program, JSON or YAML in files.  No I/O."""

from filestore.codec.canonical_form import canonical, decode, etag_of
from filestore.codec.codec import Codec, UnknownCodec, codec_named
from filestore.codec.limits import MAX_BYTES, MAX_DEPTH

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "Codec",
    "UnknownCodec",
    "canonical",
    "codec_named",
    "decode",
    "etag_of",
]
