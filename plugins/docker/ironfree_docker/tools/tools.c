/* What Ironfree needs done on a host that the engine's API cannot do; one static program.
 *
 *   tools dial                 connect to TCP ports for whoever is on standard input and output
 *   tools swap DIRECTORY NAME  let DIRECTORY/..data point to NAME at once; remove what it was
 *   tools network PORT         give a host's pods the addresses and names of services: network.c
 *   tools gateway              carry connections of a host's pods to the API: gateway.c
 *
 * `dial` carries many connections over one stream of frames. A frame is a little-endian header
 * {u32 id, u16 kind, u16 length} and its payload of at most 4096 bytes. It ends with its input.
 *   in:  OPEN (a struct sockaddr), DATA, CLOSE     out: OPENED, DATA, CLOSED (i32 errno, 0: end)
 *   in:  STAT, of the file system that containers are on     out: DATA (a struct statfs), CLOSED
 *   in:  HEADS (paths, each with a 0 behind it)     out: DATA (how each file begins), … CLOSED
 *
 * Without a C library, so that it is small enough to travel inside the driver: `make tools`
 * builds it for every processor.
 */

#include "calls.h"

#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call begin\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x29,#0\n mov x0,sp\n bl begin\n");
#endif

enum { MOST = 4096, SLOTS = 512, HEAD = 256 };
enum { OPEN = 1, DATA = 2, SHUT = 3, STAT = 4, HEADS = 5, STAT_SIZE = 120 };

static void leave(int status)
{
    for (;;)
        SYS(EXIT, status, 0, 0, 0, 0);
}

int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* --- dial -------------------------------------------------------------------------------- */

struct frame {
    u32 id;
    u16 kind, length;
    u8 payload[MOST];
};
static struct frame in, out;
static struct pollfd polls[SLOTS + 1];
static u32 ids[SLOTS + 1];
static u8 opened[SLOTS + 1];

static void fill(u8 *at, long size)
{
    while (size) {
        long got = SYS(READ, 0, at, size, 0, 0);
        if (got <= 0)
            leave(got < 0);
        at += got, size -= got;
    }
}

static void tell(u32 id, int kind, int length)
{
    out.id = id, out.kind = kind, out.length = length;
    for (long done = 0, size = 8 + length; done < size;) {
        long put = SYS(WRITE, 1, (u8 *)&out + done, size - done, 0, 0);
        if (put <= 0)
            leave(1);
        done += put;
    }
}

static void tell_end(u32 id, int error)
{
    *(int *)out.payload = error;
    tell(id, SHUT, 4);
}

static void end(int slot, int error)
{
    SYS(CLOSE, polls[slot].fd, 0, 0, 0, 0);
    polls[slot].fd = -1;
    tell_end(ids[slot], error);
}

static void open_connection(void)
{
    int slot = 1;
    while (slot <= SLOTS && polls[slot].fd >= 0)
        slot++;
    if (slot > SLOTS) {
        tell_end(in.id, TOO_MANY);
        return;
    }
    long fd = SYS(SOCKET, *(u16 *)in.payload, 1 | 04000 | 02000000, 0, 0, 0);
    if (fd < 0) {
        tell_end(in.id, -fd);
        return;
    }
    ids[slot] = in.id, opened[slot] = 0;
    polls[slot].fd = fd, polls[slot].events = 4, polls[slot].revents = 0;
    long result = SYS(CONNECT, fd, in.payload, in.length, 0, 0);
    if (result < 0 && result != -IN_PROGRESS)
        end(slot, -result);
}

static void tell_stat(void)
{
    long result = SYS(STATFS, "/", out.payload, 0, 0, 0);
    if (!result)
        tell(in.id, DATA, STAT_SIZE);
    tell_end(in.id, -result);
}

static void tell_heads(void)
{
    long result = 0;
    for (int at = 0, next = 0; next < in.length && result >= 0; next++) {
        if (in.payload[next])
            continue;
        long fd = SYS(OPENAT, -100, in.payload + at, 0, 0, 0);
        at = next + 1;
        result = fd < 0 ? fd : SYS(READ, fd, out.payload, HEAD, 0, 0);
        if (fd >= 0)
            SYS(CLOSE, fd, 0, 0, 0, 0);
        if (result > 0)
            tell(in.id, DATA, result);
    }
    tell_end(in.id, result < 0 ? -result : 0);
}

static void take_frame(void)
{
    fill((u8 *)&in, 8);
    if (in.length > MOST)
        leave(1);
    fill(in.payload, in.length);
    if (in.kind == OPEN) {
        open_connection();
        return;
    }
    if (in.kind == STAT) {
        tell_stat();
        return;
    }
    if (in.kind == HEADS) {
        tell_heads();
        return;
    }
    for (int slot = 1; slot <= SLOTS; slot++) {
        if (polls[slot].fd < 0 || ids[slot] != in.id)
            continue;
        if (in.kind == SHUT) {
            end(slot, 0);
        } else {
            long put = SYS(SENDTO, polls[slot].fd, in.payload, in.length, 0x4000, 0);
            if (put != in.length)
                end(slot, put < 0 ? -put : NO_BUFFER);
        }
    }
}

static void serve(int slot)
{
    int error = 0, size = 4, fd = polls[slot].fd;
    if (!opened[slot]) {
        SYS(GETSOCKOPT, fd, 1, 4, &error, &size);
        if (error) {
            end(slot, error);
        } else {
            opened[slot] = 1, polls[slot].events = 1;
            tell(ids[slot], OPEN, 0);
        }
        return;
    }
    long got = SYS(READ, fd, out.payload, MOST, 0, 0);
    if (got > 0)
        tell(ids[slot], DATA, got);
    else if (got != -AGAIN)
        end(slot, -got);
}

static void dial(void)
{
    polls[0].events = 1;
    for (int slot = 1; slot <= SLOTS; slot++)
        polls[slot].fd = -1;
    for (;;) {
        if (SYS(PPOLL, polls, SLOTS + 1, 0, 0, 8) < 0)
            continue;
        for (int slot = 1; slot <= SLOTS; slot++)
            if (polls[slot].fd >= 0 && polls[slot].revents)
                serve(slot);
        if (polls[0].revents)
            take_frame();
    }
}

/* --- swap -------------------------------------------------------------------------------- */

static void each_entry(int fd, void (*visit)(int, char *))
{
    u8 entries[2048];
    long size;
    while ((size = SYS(GETDENTS, fd, entries, sizeof entries, 0, 0)) > 0)
        for (long at = 0; at < size; at += *(u16 *)(entries + at + 16)) {
            char *name = (char *)entries + at + 19;
            if (!same(name, ".") && !same(name, ".."))
                visit(fd, name);
        }
}

static void remove_tree(int parent, char *name)
{
    if (SYS(UNLINKAT, parent, name, 0, 0, 0) != -IS_DIRECTORY)
        return;
    long fd = SYS(OPENAT, parent, name, DIRECTORY | NOFOLLOW, 0, 0);
    if (fd < 0)
        return;
    each_entry(fd, remove_tree);
    SYS(CLOSE, fd, 0, 0, 0, 0);
    SYS(UNLINKAT, parent, name, 0x200, 0, 0);
}

static void remove_dangling(int parent, char *name)
{
    if (!(name[0] == '.' && name[1] == '.') && SYS(FACCESSAT, parent, name, 0, 0, 0) == -2)
        SYS(UNLINKAT, parent, name, 0, 0, 0);
}

static int swap(char *directory, char *target)
{
    static char before[256];
    long fd = SYS(OPENAT, -100, directory, DIRECTORY, 0, 0);
    if (fd < 0)
        return 1;
    SYS(READLINKAT, fd, "..data", before, sizeof before - 1, 0);
    SYS(UNLINKAT, fd, "..data_tmp", 0, 0, 0);
    if (SYS(SYMLINKAT, target, fd, "..data_tmp", 0, 0) < 0)
        return 2;
    if (SYS(RENAMEAT, fd, "..data_tmp", fd, "..data", 0) < 0)
        return 3;
    each_entry(fd, remove_dangling);
    if (before[0] == '.' && before[1] == '.' && before[2] && !same(before, target))
        remove_tree(fd, before);
    return 0;
}

__attribute__((used)) void begin(long *stack)
{
    long count = stack[0];
    char **words = (char **)(stack + 1);
    if (count == 2 && same(words[1], "dial"))
        dial();
    if (count == 4 && same(words[1], "swap"))
        leave(swap(words[2], words[3]));
    if (count == 3 && same(words[1], "network"))
        leave(network(words[2]));
    if (count == 2 && same(words[1], "gateway"))
        leave(gateway());
    leave(64);
}
