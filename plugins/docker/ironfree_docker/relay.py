"""The relay: connects a port of a pod's loopback with stdin and stdout, for port-forward.

Its network namespace is the pod's, because it is run by exec in the pod's infra container, where it
is put before the first use: so it asks neither for a tool in the pod's images, nor for another
container or image on the host, and it reaches what no host port publishes.

One argument, the port in decimal. It connects to 127.0.0.1, else to ::1; the exit status is 0, or
the errno of the first try. One thread copies the socket to stdout and ends the program at the end;
another copies stdin to the socket and at the end half-closes that. The pod then has a minute to end
its side, so that nothing stays behind when whoever forwards has gone.

Not for other processors than amd64 and arm64.
"""

import struct

from .static_elf import static_elf

PATH = "/ironfree-relay"

# fmt: off
_AMD64 = bytes.fromhex("".join((
    "488b742410",          # mov rsi,QWORD PTR [rsp+0x10]  ; argv[1]
    "4531e4",              # xor r12d,r12d
    "0fb60e",              # digit: movzx ecx,BYTE PTR [rsi]  ; the port, in decimal
    "48ffc6",              # inc rsi
    "83e930",              # sub ecx,0x30
    "7809",                # js ready
    "456be40a",            # imul r12d,r12d,0xa
    "4101cc",              # add r12d,ecx
    "ebec",                # jmp digit
    "6641c1c408",          # ready: rol r12w,0x8  ; network order
    "41c1e410",            # shl r12d,0x10
    "6800100000",          # push 0x1000
    "b80e000000",          # mov eax,0xe  ; rt_sigprocmask(SIG_BLOCK, SIGPIPE)
    "31ff",                # xor edi,edi
    "4889e6",              # mov rsi,rsp
    "31d2",                # xor edx,edx
    "41ba08000000",        # mov r10d,0x8
    "0f05",                # syscall
    "6a00",                # push 0x0
    "b87f000001",          # mov eax,0x100007f  ; 127.0.0.1
    "48c1e020",            # shl rax,0x20
    "4c09e0",              # or rax,r12
    "4883c802",            # or rax,0x2
    "50",                  # push rax
    "bb02000000",          # mov ebx,0x2
    "41be10000000",        # mov r14d,0x10
    "41bf00000000",        # mov r15d,0x0
    "b829000000",          # dial: mov eax,0x29  ; socket(family, SOCK_STREAM)
    "89df",                # mov edi,ebx
    "be01000000",          # mov esi,0x1
    "31d2",                # xor edx,edx
    "0f05",                # syscall
    "4189c5",              # mov r13d,eax
    "b82a000000",          # mov eax,0x2a  ; connect
    "4489ef",              # mov edi,r13d
    "4889e6",              # mov rsi,rsp
    "4489f2",              # mov edx,r14d
    "0f05",                # syscall
    "85c0",                # test eax,eax
    "7435",                # je connected
    "4585ff",              # test r15d,r15d
    "7524",                # jne refused
    "4189c7",              # mov r15d,eax
    "6a00",                # push 0x0
    "b801000000",          # mov eax,0x1
    "48c1c808",            # ror rax,0x8  ; ::1
    "50",                  # push rax
    "6a00",                # push 0x0
    "4183cc0a",            # or r12d,0xa
    "4154",                # push r12
    "bb0a000000",          # mov ebx,0xa
    "41be1c000000",        # mov r14d,0x1c
    "ebb0",                # jmp dial
    "4489ff",              # refused: mov edi,r15d
    "f7df",                # neg edi
    "b8e7000000",          # mov eax,0xe7  ; exit_group
    "0f05",                # syscall
    "4881ec00000200",      # connected: sub rsp,0x20000
    "b838000000",          # mov eax,0x38  ; clone(a thread, on the same stack)
    "bf000f0500",          # mov edi,0x50f00
    "31f6",                # xor esi,esi
    "31d2",                # xor edx,edx
    "4531d2",              # xor r10d,r10d
    "4531c0",              # xor r8d,r8d
    "0f05",                # syscall
    "89c5",                # mov ebp,eax
    "85c0",                # test eax,eax
    "7877",                # js quit
    "4589ec",              # mov r12d,r13d
    "41be01000000",        # mov r14d,0x1
    "4989e7",              # mov r15,rsp
    "750d",                # jne copy
    "4531e4",              # xor r12d,r12d
    "4589ee",              # mov r14d,r13d
    "4981c700000100",      # add r15,0x10000
    "31c0",                # copy: xor eax,eax  ; read
    "4489e7",              # mov edi,r12d
    "4c89fe",              # mov rsi,r15
    "ba00000100",          # mov edx,0x10000
    "0f05",                # syscall
    "85c0",                # test eax,eax
    "7e1e",                # jle ended
    "89c3",                # mov ebx,eax
    "4c89fe",              # mov rsi,r15
    "b801000000",          # rest: mov eax,0x1  ; write
    "4489f7",              # mov edi,r14d
    "89da",                # mov edx,ebx
    "0f05",                # syscall
    "85c0",                # test eax,eax
    "7e09",                # jle ended
    "4801c6",              # add rsi,rax
    "29c3",                # sub ebx,eax
    "75e9",                # jne rest
    "ebcf",                # jmp copy
    "85ed",                # ended: test ebp,ebp
    "7527",                # jne quit
    "b830000000",          # mov eax,0x30  ; shutdown(socket, SHUT_WR)
    "4489ef",              # mov edi,r13d
    "be01000000",          # mov esi,0x1
    "0f05",                # syscall
    "b823000000",          # mov eax,0x23  ; nanosleep(60 s)
    "49c7073c000000",      # mov QWORD PTR [r15],0x3c
    "4983670800",          # and QWORD PTR [r15+0x8],0x0
    "4c89ff",              # mov rdi,r15
    "31f6",                # xor esi,esi
    "0f05",                # syscall
    "31ff",                # quit: xor edi,edi
    "b8e7000000",          # mov eax,0xe7  ; exit_group
    "0f05",                # syscall
)))

_ARM64 = struct.pack("<104I",
    0xF9400BE1,  # ldr x1, [sp, #16]  ; argv[1]
    0xD2800013,  # mov x19, #0x0
    0xD2800149,  # mov x9, #0xa
    0x3840142A,  # digit: ldrb w10, [x1], #1
    0x7100C14A,  # subs w10, w10, #0x30
    0x54000064,  # b.mi ready
    0x1B092A73,  # madd w19, w19, w9, w10
    0x17FFFFFC,  # b digit
    0x5AC00673,  # ready: rev16 w19, w19
    0x53103E73,  # lsl w19, w19, #16
    0xD10103FF,  # sub sp, sp, #0x40
    0xD2820009,  # mov x9, #0x1000
    0xF90003E9,  # str x9, [sp]
    0xD28010E8,  # mov x8, #0x87  ; rt_sigprocmask(SIG_BLOCK, SIGPIPE)
    0xD2800000,  # mov x0, #0x0
    0x910003E1,  # mov x1, sp
    0xD2800002,  # mov x2, #0x0
    0xD2800103,  # mov x3, #0x8
    0xD4000001,  # svc #0x0
    0xD2800FE9,  # mov x9, #0x7f
    0xF2A02009,  # movk x9, #0x100, lsl #16
    0xB27F026A,  # orr x10, x19, #0x2
    0xAA098149,  # orr x9, x10, x9, lsl #32
    0xA9027FE9,  # stp x9, xzr, [sp, #32]
    0xD2E02009,  # mov x9, #0x100000000000000
    0xD280014A,  # mov x10, #0xa
    0xAA0A026A,  # orr x10, x19, x10
    0xA9007FEA,  # stp x10, xzr, [sp]
    0xD2800054,  # mov x20, #0x2
    0x910083F5,  # add x21, sp, #0x20
    0xD2800216,  # mov x22, #0x10
    0xD2800017,  # mov x23, #0x0
    0xD28018C8,  # dial: mov x8, #0xc6  ; socket(family, SOCK_STREAM)
    0xAA1403E0,  # mov x0, x20
    0xD2800021,  # mov x1, #0x1
    0xD2800002,  # mov x2, #0x0
    0xD4000001,  # svc #0x0
    0xAA0003F8,  # mov x24, x0
    0xD2801968,  # mov x8, #0xcb  ; connect
    0xAA1503E1,  # mov x1, x21
    0xAA1603E2,  # mov x2, x22
    0xD4000001,  # svc #0x0
    0xB4000160,  # cbz x0, connected
    0xB50000F7,  # cbnz x23, refused
    0xAA0003F7,  # mov x23, x0
    0xA9017FE9,  # stp x9, xzr, [sp, #16]
    0xD2800154,  # mov x20, #0xa
    0x910003F5,  # mov x21, sp
    0xD2800396,  # mov x22, #0x1c
    0x17FFFFEF,  # b dial
    0xCB1703E0,  # refused: neg x0, x23
    0xD2800BC8,  # mov x8, #0x5e  ; exit_group
    0xD4000001,  # svc #0x0
    0xD14083FF,  # connected: sub sp, sp, #0x20, lsl #12
    0xD2801B88,  # mov x8, #0xdc  ; clone(a thread, on the same stack)
    0xD281E000,  # mov x0, #0xf00
    0xF2A000A0,  # movk x0, #0x5, lsl #16
    0xD2800001,  # mov x1, #0x0
    0xD2800002,  # mov x2, #0x0
    0xD2800003,  # mov x3, #0x0
    0xD2800004,  # mov x4, #0x0
    0xD4000001,  # svc #0x0
    0xAA0003F4,  # mov x20, x0
    0xB7F804C0,  # tbnz x0, #63, quit
    0xAA1803F5,  # mov x21, x24
    0xD2800036,  # mov x22, #0x1
    0x910003F7,  # mov x23, sp
    0xB5000080,  # cbnz x0, copy
    0xD2800015,  # mov x21, #0x0
    0xAA1803F6,  # mov x22, x24
    0x914043F7,  # add x23, sp, #0x10, lsl #12
    0xD28007E8,  # copy: mov x8, #0x3f  ; read
    0xAA1503E0,  # mov x0, x21
    0xAA1703E1,  # mov x1, x23
    0xD2A00022,  # mov x2, #0x10000
    0xD4000001,  # svc #0x0
    0xF100001F,  # cmp x0, #0x0
    0x540001AD,  # b.le ended
    0xAA0003F9,  # mov x25, x0
    0xAA1703E1,  # mov x1, x23
    0xD2800808,  # rest: mov x8, #0x40  ; write
    0xAA1603E0,  # mov x0, x22
    0xAA1903E2,  # mov x2, x25
    0xD4000001,  # svc #0x0
    0xF100001F,  # cmp x0, #0x0
    0x540000AD,  # b.le ended
    0x8B000021,  # add x1, x1, x0
    0xEB000339,  # subs x25, x25, x0
    0x54FFFF01,  # b.ne rest
    0x17FFFFEE,  # b copy
    0xB5000174,  # ended: cbnz x20, quit
    0xD2801A48,  # mov x8, #0xd2  ; shutdown(socket, SHUT_WR)
    0xAA1803E0,  # mov x0, x24
    0xD2800021,  # mov x1, #0x1
    0xD4000001,  # svc #0x0
    0xD2800CA8,  # mov x8, #0x65  ; nanosleep(60 s)
    0xD2800789,  # mov x9, #0x3c
    0xA9007EE9,  # stp x9, xzr, [x23]
    0xAA1703E0,  # mov x0, x23
    0xD2800001,  # mov x1, #0x0
    0xD4000001,  # svc #0x0
    0xD2800BC8,  # quit: mov x8, #0x5e  ; exit_group
    0xD2800000,  # mov x0, #0x0
    0xD4000001,  # svc #0x0
)
# fmt: on

_PROGRAMS = {"amd64": _AMD64, "arm64": _ARM64}


def program(architecture: str) -> bytes | None:
    """The relay as a static ELF file, or None if there is none for GOARCH `architecture`.

    Source: numbers of the calls from Linux's system call tables; clone(2), socket(7).
    """
    instructions = _PROGRAMS.get(architecture)
    return None if instructions is None else static_elf(architecture, instructions)
