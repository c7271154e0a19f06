"""Prints of each frame of a classic pcap file (nanoseconds) its time and its frame check sequence, as it stands on the wire.

Usage: frames.py FILE
"""

import struct
import sys
import zlib

with open(sys.argv[1], "rb") as file:
    data = file.read()
order = {b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\x3c\x4d": ">"}[data[:4]]
at = 24
while at < len(data):
    second, nanos, length, _ = struct.unpack_from(order + "IIII", data, at)
    frame = data[at + 16:at + 16 + length]
    at += 16 + length
    print(f"{second}.{nanos:09} 0x{zlib.crc32(frame).to_bytes(4, 'little').hex()}")
