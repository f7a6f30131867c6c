"""Stands for encodings.idna in the executable: names of hosts that are ASCII already, which is what registries have.

CPython's own brings the tables of unicodedata, a megabyte. Others get a clear error: write the name as xn--...
"""

import codecs


class Codec(codecs.Codec):
    """Each label at most 63 bytes, RFC 1035."""

    def encode(self, input, errors="strict"):
        encoded = input.encode("ascii", "strict") if input else b""
        labels = encoded.removesuffix(b".").split(b".") if encoded else []
        if not all(0 < len(label) < 64 for label in labels):
            raise UnicodeError("label empty or too long")
        return encoded, len(input)

    def decode(self, input, errors="strict"):
        return str(input, "ascii", "strict"), len(input)


class StreamWriter(Codec, codecs.StreamWriter):
    pass


class StreamReader(Codec, codecs.StreamReader):
    pass


def getregentry():
    """As encodings.search_function asks for it."""
    codec = Codec()
    return codecs.CodecInfo(
        codec.encode, codec.decode, streamreader=StreamReader, streamwriter=StreamWriter, name="idna"
    )
