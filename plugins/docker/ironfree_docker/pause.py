"""The infra container's image: one tiny static program, written here word by word.

The infra container only holds a pod's namespaces. Its program blocks INT, QUIT, TERM and CHLD,
waits for one of them, reaps children on CHLD and ends with status 0 on the others. Blocked signals
reach PID 1 even without a handler, so that is all it takes. Made here, it asks neither for a
registry on the host nor for a compiler on the user's machine.

Not for other processors than amd64 and arm64: name an image in the host's options there.
"""

import struct
from functools import cache

from . import tools
from .image_archive import ImageSettings, RootFile, image_archive
from .static_elf import static_elf

IMAGE = "ironfree/pause:8"

VOLUME_DIRECTORIES = 64
"""`/volumes/0` … exist with mode 0777: a volume first mounted there takes that mode over."""

MESSAGES = "/messages"
MESSAGE_FILES = 64
"""`/messages/0` … are empty files with mode 0666: a volume first mounted there gets them."""

_SIGNALS = struct.pack("<Q", 1 << 1 | 1 << 2 | 1 << 14 | 1 << 16)  # INT QUIT TERM CHLD

# fmt: off
_AMD64 = bytes.fromhex("".join((
    "b80e000000",      # mov eax, 14               rt_sigprocmask(
    "31ff",            # xor edi, edi                SIG_BLOCK,
    "488d3550000000",  # lea rsi, [rip+0x50]         the signals,
    "31d2",            # xor edx, edx                NULL,
    "41ba08000000",    # mov r10d, 8                 8)
    "0f05",            # syscall
    "b880000000",      # wait: mov eax, 128        rt_sigtimedwait(
    "488d3d3a000000",  # lea rdi, [rip+0x3a]         the signals,
    "31f6",            # xor esi, esi                NULL,
    "31d2",            # xor edx, edx                NULL,
    "41ba08000000",    # mov r10d, 8                 8)
    "0f05",            # syscall
    "83f811",          # cmp eax, 17               SIGCHLD?
    "740d",            # je reap
    "85c0",            # test eax, eax             interrupted?
    "78df",            # js wait
    "31ff",            # xor edi, edi
    "b8e7000000",      # mov eax, 231              exit_group(0)
    "0f05",            # syscall
    "b83d000000",      # reap: mov eax, 61         wait4(
    "bfffffffff",      # mov edi, -1                 any,
    "31f6",            # xor esi, esi                NULL,
    "ba01000000",      # mov edx, 1                  WNOHANG,
    "4531d2",          # xor r10d, r10d              NULL)
    "0f05",            # syscall
    "85c0",            # test eax, eax
    "7fe6",            # jg reap
    "ebba",            # jmp wait
)))

_ARM64 = struct.pack("<28I",
    0xD28010E8,  # mov x8, #135               rt_sigprocmask(
    0xD2800000,  # mov x0, #0                   SIG_BLOCK,
    0x10000341,  # adr x1, signals              the signals,
    0xD2800002,  # mov x2, #0                   NULL,
    0xD2800103,  # mov x3, #8                   8)
    0xD4000001,  # svc #0
    0xD2801128,  # wait: mov x8, #137         rt_sigtimedwait(
    0x100002A0,  # adr x0, signals              the signals,
    0xD2800001,  # mov x1, #0                   NULL,
    0xD2800002,  # mov x2, #0                   NULL,
    0xD2800103,  # mov x3, #8                   8)
    0xD4000001,  # svc #0
    0x7100441F,  # cmp w0, #17                SIGCHLD?
    0x540000A0,  # b.eq reap
    0x37FFFF00,  # tbnz w0, #31, wait         interrupted?
    0xD2800000,  # mov x0, #0
    0xD2800BC8,  # mov x8, #94                exit_group(0)
    0xD4000001,  # svc #0
    0xD2802088,  # reap: mov x8, #260         wait4(
    0x92800000,  # mov x0, #-1                  any,
    0xD2800001,  # mov x1, #0                   NULL,
    0xD2800022,  # mov x2, #1                   WNOHANG,
    0xD2800003,  # mov x3, #0                   NULL)
    0xD4000001,  # svc #0
    0x7100001F,  # cmp w0, #0
    0x54FFFF2C,  # b.gt reap
    0x17FFFFEC,  # b wait
    0xD503201F,  # nop                        aligns the signals
)
# fmt: on

_PROGRAMS = {"amd64": _AMD64, "arm64": _ARM64}


def program(architecture: str) -> bytes | None:
    """The pause program as a static ELF file, or None if there is none for GOARCH `architecture`.

    Source: numbers of the calls from Linux's system call tables.
    """
    instructions = _PROGRAMS.get(architecture)
    return None if instructions is None else static_elf(architecture, instructions + _SIGNALS)


@cache
def archive(architecture: str) -> bytes | None:
    """The infra image for `POST /images/load`, or None if there is none for this processor."""
    binary = program(architecture)
    if binary is None:
        return None
    files = {"pause": RootFile(binary, 0o755), "volumes": RootFile(directory=True, mode=0o755)}
    further = tools.program(architecture)
    if further is not None:
        files[tools.PATH.removeprefix("/")] = RootFile(further, 0o755)
    for number in range(VOLUME_DIRECTORIES):
        files[f"volumes/{number}"] = RootFile(directory=True, mode=0o777)
    files[MESSAGES.removeprefix("/")] = RootFile(directory=True, mode=0o755)
    for number in range(MESSAGE_FILES):
        files[f"{MESSAGES.removeprefix('/')}/{number}"] = RootFile(mode=0o666)
    return image_archive(
        IMAGE, files, ImageSettings(entrypoint=["/pause"], architecture=architecture)
    )
