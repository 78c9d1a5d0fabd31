/* Ranges of addresses that lead to this host itself: routes of type "local" on lo, marked ours
 * by their protocol. A range that the host already reaches otherwise is refused, and one with a
 * name server that the host asks. What one before this program has left, which had no time to
 * tidy up, goes with the first statement: it may hide the subnet that the host's pods have now.
 */

#include "network.h"

enum { NEW_ROUTE = 24, DELETE_ROUTE = 25, GET_ROUTE = 26, ERROR = 2, DONE = 3, RANGES = 256 };
enum { UNICAST = 1, LOCAL = 2, OURS = 0x49, HOST_SCOPE = 254, LOCAL_TABLE = 255 };

struct range {
    u32 ip, length, generation, added;
};
struct message {
    u32 length;
    u16 type, flags;
    u32 sequence, sender;
    union {
        int error;
        struct {
            u8 family, to_length, from_length, tos, table, protocol, scope, type;
            u32 flags;
        } route;
    };
};
static struct range ranges[RANGES], strays[RANGES];
static u32 ranges_count, strays_count;

static long open_routes(void)
{
    u8 where[12] = {16, 0};
    long fd = SYS(SOCKET, 16, 3 | 02000000, 0), result;
    if (fd < 0)
        return fd;
    if (!(result = SYS(BIND, fd, where, 12)))
        return fd;
    SYS(CLOSE, fd);
    return result;
}

static u32 destination(const struct message *m)
{
    const u8 *at = (const u8 *)m + sizeof *m, *end = (const u8 *)m + m->length;
    while (at + 4 <= end) {
        u16 size, type;
        memcpy(&size, at, 2), memcpy(&type, at + 2, 2);
        if (size < 4 || at + size > end)
            return 0;
        if (type == 1 && size == 8)
            return (u32)at[4] << 24 | at[5] << 16 | at[6] << 8 | at[7];
        at += (size + 3) & ~3;
    }
    return 0;
}

static void note_stray(u32 ip, u32 length)
{
    for (u32 i = 0; i < ranges_count; i++)
        if (ranges[i].ip == ip && ranges[i].length == length)
            return;
    if (strays_count < RANGES)
        strays[strays_count++] = (struct range){ip, length, 0, 1};
}

static int bars(const struct message *m, u32 ip, u32 length)
{
    if (m->type != NEW_ROUTE || m->length < sizeof *m)
        return 0;
    u32 shorter = m->route.to_length < length ? m->route.to_length : length;
    int ours = m->route.type == LOCAL && m->route.protocol == OURS;
    if (ours)
        note_stray(destination(m), m->route.to_length);
    int reaches = m->route.type == UNICAST ? m->route.to_length > 0 : m->route.type == LOCAL;
    return reaches && !ours && !((destination(m) ^ ip) & mask_of(shorter));
}

/* The kernel answers with more messages until DONE; an error is told in one of its own. */
static long receive(long fd, u32 ip, u32 length)
{
    static u8 got[32768] __attribute__((aligned(8)));
    long barred = 0;
    for (;;) {
        long size = SYS(RECVFROM, fd, got, sizeof got, 0, 0, 0);
        if (size < 0)
            return size;
        for (long at = 0; at + 16 <= size;) {
            struct message *m = (void *)(got + at);
            if (m->length < 16 || m->length > size - at)
                return -AGAIN;
            if (m->type == DONE)
                return barred;
            if (m->type == ERROR)
                return m->error;
            if (bars(m, ip, length))
                barred = -EXISTS;
            at += (m->length + 3) & ~3;
        }
    }
}

static long ask(u16 type, u16 flags, u32 ip, u32 length)
{
    struct {
        struct message m;
        u8 rest[16];
    } out = {.m = {.length = sizeof out, .type = type, .flags = flags, .sequence = 1}};
    long fd = open_routes(), result;
    if (fd < 0)
        return fd;
    out.m.route.family = 2;
    if (type == GET_ROUTE) {
        out.m.length = sizeof out.m;
    } else {
        out.m.route.to_length = length, out.m.route.table = LOCAL_TABLE;
        out.m.route.protocol = OURS, out.m.route.scope = HOST_SCOPE, out.m.route.type = LOCAL;
        out.rest[0] = 8, out.rest[2] = 1;
        put32(out.rest + 4, ip);
        out.rest[8] = 8, out.rest[10] = 4, out.rest[12] = 1;
    }
    result = SYS(SENDTO, fd, &out, out.m.length, 0, 0, 0);
    if (result > 0)
        result = receive(fd, ip, length);
    SYS(CLOSE, fd);
    return result;
}

void add_range(u32 ip, u32 length, u32 generation)
{
    u32 i = 0;
    while (i < ranges_count && (ranges[i].ip != ip || ranges[i].length != length))
        i++;
    if (i == RANGES) {
        tell_range(ip, length, FULL_TABLE);
        return;
    }
    if (i == ranges_count)
        ranges[ranges_count++] = (struct range){ip, length, generation, 0};
    ranges[i].generation = generation;
    if (!ranges[i].added) {
        long result = asks_in(ip, length) ? -EXISTS : ask(GET_ROUTE, 0x301, ip, length);
        if (result < 0) {
            tell_range(ip, length, -result);
            return;
        }
    }
    long result = ask(NEW_ROUTE, 0x605, ip, length);
    u32 added = !result || result == -EXISTS;
    ranges_changed |= added != ranges[i].added;
    ranges[i].added = added;
    if (ranges[i].added)
        retry_listeners();
    else
        tell_range(ip, length, -result);
}

static void forget_range(u32 i)
{
    if (ranges[i].added)
        ask(DELETE_ROUTE, 5, ranges[i].ip, ranges[i].length), ranges_changed = 1;
    ranges[i] = ranges[--ranges_count];
}

void remove_range(u32 ip, u32 length)
{
    for (u32 i = 0; i < ranges_count; i++)
        if (ranges[i].ip == ip && ranges[i].length == length) {
            forget_range(i);
            return;
        }
}

static void remove_strays(void)
{
    static int done;
    if (done++)
        return;
    strays_count = 0;
    ask(GET_ROUTE, 0x301, 0, 32);
    for (; strays_count; strays_count--) {
        const struct range *stray = &strays[strays_count - 1];
        ask(DELETE_ROUTE, 5, stray->ip, stray->length);
    }
}

int leads_here(u32 ip)
{
    for (u32 i = 0; i < ranges_count; i++)
        if ((ip & mask_of(ranges[i].length)) == ranges[i].ip)
            return 1;
    return 0;
}

/* Whether the host itself gets what is sent there, as the kernel has it; if in doubt, it does. */
int is_local(u32 ip)
{
    static u8 got[4096] __attribute__((aligned(8)));
    struct {
        struct message m;
        u8 rest[8];
    } out = {.m = {.length = sizeof out, .type = GET_ROUTE, .flags = 1, .sequence = 1}};
    const struct message *m = (void *)got;
    long fd = open_routes();
    if (fd < 0)
        return 1;
    out.m.route.family = 2, out.m.route.to_length = 32, out.rest[0] = 8, out.rest[2] = 1;
    put32(out.rest + 4, ip);
    long size = SYS(SENDTO, fd, &out, sizeof out, 0, 0, 0);
    if (size > 0)
        size = SYS(RECVFROM, fd, got, sizeof got, 0, 0, 0);
    SYS(CLOSE, fd);
    return size < (long)sizeof *m || m->type != NEW_ROUTE || m->route.type == LOCAL;
}

int in_range(u32 ip)
{
    for (u32 i = 0; i < ranges_count; i++)
        if (ranges[i].added && (ip & mask_of(ranges[i].length)) == ranges[i].ip)
            return 1;
    return 0;
}

void each_range(void (*visit)(u32 ip, u32 length))
{
    for (u32 i = 0; i < ranges_count; i++)
        if (ranges[i].added)
            visit(ranges[i].ip, ranges[i].length);
}

void sweep_ranges(u32 generation)
{
    for (u32 i = ranges_count; i--;)
        if (ranges[i].generation != generation)
            forget_range(i);
    remove_strays();
}

void remove_ranges(void)
{
    while (ranges_count)
        forget_range(ranges_count - 1);
}
