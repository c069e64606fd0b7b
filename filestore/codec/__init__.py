"""Documents as bytes: canonical bytes inside the program, JSON or YAML in files.  No I/O."""

from filestore.codec.canonical_form import canonical, canonical_again, decode
from filestore.codec.codec import Codec, UnknownCodec, codec_named
from filestore.codec.limits import MAX_BYTES, MAX_DEPTH, check_remarks

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "Codec",
    "UnknownCodec",
    "canonical",
    "canonical_again",
    "check_remarks",
    "codec_named",
    "decode",
]
