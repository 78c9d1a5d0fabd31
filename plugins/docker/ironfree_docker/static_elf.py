"""The smallest ELF file there is: instructions, and nothing to link.

Source: System V ABI, object files.
"""

import struct

_MACHINES = {"amd64": 62, "arm64": 183}  # e_machine by GOARCH
_BASE = 0x400000
_HEADERS = 64 + 56  # ELF header, one program header


def static_elf(architecture: str, content: bytes) -> bytes:
    """Return a program that starts at the first byte of `content`.

    Args:
        architecture: "amd64" or "arm64".
        content: instructions, and data that they only read.
    """
    machine = _MACHINES[architecture]
    size = _HEADERS + len(content)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bits, little-endian, version 1
    entry = _BASE + _HEADERS
    header = struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )  # ET_EXEC; one program header right behind this one; no sections
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)  # PT_LOAD, R+X
    return identity + header + segment + content
