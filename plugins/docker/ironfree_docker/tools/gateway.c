/* The way of a host's pods to the API:  tools gateway
 *
 * It listens on a free port of the host's loopback and carries every connection over the one
 * stream on its standard input and output, to whoever started it. A frame is a little-endian
 * header {u32 id, u16 kind, u16 length} and its payload of at most 16,384 bytes.
 *   out: LISTENING (u16 port), once    OPEN: somebody has connected
 *   both: DATA    END: no more from this side    RESET: broken off    CREDIT (u32)    PING
 * Either side sends 65,536 bytes of a connection and then as many as it was given credit for, so
 * that no connection that nobody reads holds up the others. After END from its input, what is
 * still to be sent is, and then the connection is closed. A PING is answered by one. It ends with
 * its input, or when that has been silent for 90 seconds.
 */

#include "calls.h"

enum { SLOTS = 512, MOST = 16384, WINDOW = 65536, FRESH = 04000 | 02000000, QUIET = 0x4040 };
enum { OPEN = 1, DATA, END, RESET, CREDIT, PING, LISTENING };
enum { INPUT = 1, OUTPUT = 4, SILENCE = 90000, LINGER = 10000, TICK = 1000 };

struct frame {
    u32 id;
    u16 kind, length;
    u8 payload[MOST];
};
struct client {
    u32 id, credit, sent, at, size; /* what it sends, and what is to be sent to it */
    int fd;
    u8 ended, closing, shut;
    u64 deadline;
};

static struct frame out;
static struct client clients[SLOTS];
static u8 pending[SLOTS][WINDOW];
static struct pollfd polls[SLOTS + 2];
static u8 got[2 * sizeof(struct frame)] __attribute__((aligned(8)));
static u32 got_size, count;
static u64 clock, heard, rests_until;

static void leave(int status)
{
    for (;;)
        SYS(EXIT, status);
}

static void read_clock(void)
{
    long time[2];
    SYS(CLOCK_GETTIME, 1, time);
    clock = time[0] * 1000 + time[1] / 1000000;
}

/* The other end reads whatever it waits for itself, so waiting here ends. */
static void tell(u32 id, int kind, u32 length)
{
    out.id = id, out.kind = kind, out.length = length;
    for (u32 done = 0, size = 8 + length; done < size;) {
        long put = SYS(WRITE, 1, (u8 *)&out + done, size - done);
        if (put == -INTERRUPTED)
            continue;
        if (put <= 0)
            leave(1);
        done += put;
    }
}

/* As many descriptors as this process may have. */
static void raise_limit(void)
{
    u64 most[2];
    if (!SYS(PRLIMIT, 0, 7, 0, most))
        most[0] = most[1], SYS(PRLIMIT, 0, 7, most, 0);
}

/* --- clients ------------------------------------------------------------------------------ */

static void forget(struct client *c)
{
    SYS(CLOSE, c->fd);
    c->fd = -1, count--;
}

static void reset(struct client *c)
{
    int at_once[2] = {1, 0};
    SYS(SETSOCKOPT, c->fd, 1, 13, at_once, 8);
    forget(c);
}

static void break_off(struct client *c)
{
    tell(c->id, RESET, 0);
    reset(c);
}

static void accept(int listener)
{
    struct client *c = clients;
    while (c->fd >= 0)
        c++;
    long fd = SYS(ACCEPT4, listener, 0, 0, FRESH);
    if (fd < 0) {
        rests_until = clock + TICK;
        return;
    }
    *c = (struct client){.id = c->id + SLOTS, .fd = fd, .credit = WINDOW};
    count++;
    tell(c->id, OPEN, 0);
}

static void receive(struct client *c)
{
    u32 most = c->credit < MOST ? c->credit : MOST;
    long size = SYS(RECVFROM, c->fd, out.payload, most, 0, 0, 0);
    if (size == -AGAIN || size == -INTERRUPTED)
        return;
    if (size < 0) {
        break_off(c);
        return;
    }
    if (size > 0) {
        c->credit -= size;
        tell(c->id, DATA, size);
        return;
    }
    c->ended = 1;
    tell(c->id, END, 0);
    if (c->shut)
        forget(c);
}

/* Sends what is pending; credit is given in parts that are worth a frame. */
static void send(struct client *c)
{
    u8 *data = pending[c - clients];
    while (c->size) {
        long put = SYS(SENDTO, c->fd, data + c->at, c->size, QUIET, 0, 0);
        if (put == -AGAIN)
            break;
        if (put < 0) {
            break_off(c);
            return;
        }
        c->at += put, c->size -= put, c->sent += put;
    }
    if (c->sent >= WINDOW / 4) {
        *(u32 *)out.payload = c->sent, c->sent = 0;
        tell(c->id, CREDIT, 4);
    }
    if (!c->size)
        c->at = 0;
    if (c->closing && !c->size && !c->shut) {
        SYS(SHUTDOWN, c->fd, 1);
        c->shut = 1, c->deadline = clock + LINGER;
        if (c->ended)
            forget(c);
    }
}

/* --- what comes in ------------------------------------------------------------------------ */

static void take_data(struct client *c, const u8 *data, u32 length)
{
    u8 *at = pending[c - clients];
    if (c->closing || length > WINDOW - c->size) {
        break_off(c);
        return;
    }
    if (c->at + c->size + length > WINDOW)
        memmove(at, at + c->at, c->size), c->at = 0;
    memcpy(at + c->at + c->size, data, length);
    c->size += length;
    send(c);
}

static void take(const struct frame *f)
{
    struct client *c = &clients[f->id % SLOTS];
    if (f->kind == PING)
        tell(0, PING, 0);
    if (c->id != f->id || c->fd < 0)
        return;
    if (f->kind == DATA)
        take_data(c, f->payload, f->length);
    else if (f->kind == CREDIT && f->length == 4)
        c->credit += *(u32 *)f->payload;
    else if (f->kind == END && !c->closing)
        c->closing = 1, send(c);
    else if (f->kind == RESET)
        reset(c);
}

static void take_input(void)
{
    long size = SYS(READ, 0, got + got_size, sizeof got - got_size);
    if (size == -INTERRUPTED || size == -AGAIN)
        return;
    if (size <= 0)
        leave(size < 0);
    got_size += size, heard = clock;
    u32 at = 0;
    while (got_size - at >= 8) {
        static struct frame f;
        memcpy((u8 *)&f, got + at, 8);
        if (f.length > MOST)
            leave(1);
        if (got_size - at < 8u + f.length)
            break;
        memcpy(f.payload, got + at + 8, f.length);
        take(&f);
        at += 8 + f.length;
    }
    memmove(got, got + at, got_size - at);
    got_size -= at;
}

/* --- the loop ----------------------------------------------------------------------------- */

static void choose(struct client *c, struct pollfd *p)
{
    p->events = (c->credit && !c->ended ? INPUT : 0) | (c->size ? OUTPUT : 0);
    p->fd = p->events ? c->fd : -1;
}

static void serve(int listener)
{
    long tick[2] = {TICK / 1000, 0};
    for (;;) {
        int resting = clock < rests_until, takes = count < SLOTS && !resting;
        polls[0] = (struct pollfd){0, INPUT, 0};
        polls[1] = (struct pollfd){takes ? listener : -1, INPUT, 0};
        for (u32 i = 0; i < SLOTS; i++)
            choose(&clients[i], &polls[2 + i]);
        tick[0] = (count || resting ? TICK : SILENCE) / 1000;
        SYS(PPOLL, polls, SLOTS + 2, tick, 0, 8);
        read_clock();
        for (struct client *c = clients; c < clients + SLOTS; c++) {
            struct pollfd *p = &polls[2 + (c - clients)];
            if (c->fd >= 0 && p->fd == c->fd && p->revents & ~INPUT)
                send(c);
            if (c->fd >= 0 && p->fd == c->fd && p->revents && p->events & INPUT)
                receive(c);
            if (c->fd >= 0 && c->shut && clock >= c->deadline)
                forget(c);
        }
        if (polls[1].revents)
            accept(listener);
        if (polls[0].revents)
            take_input();
        else if (clock - heard >= SILENCE)
            leave(0);
    }
}

int gateway(void)
{
    u8 where[16] = {2, 0, 0, 0, 127, 0, 0, 1};
    u64 mask = 1 << (13 - 1);
    int size = 16;
    SYS(SIGPROCMASK, 0, &mask, 0, 8);
    raise_limit();
    for (u32 i = 0; i < SLOTS; i++)
        clients[i].id = i, clients[i].fd = -1;
    long fd = SYS(SOCKET, 2, 1 | FRESH, 0);
    if (fd < 0 || SYS(BIND, fd, where, 16) || SYS(LISTEN, fd, 128)
        || SYS(GETSOCKNAME, fd, where, &size))
        return 1;
    read_clock();
    heard = clock;
    out.payload[0] = where[3], out.payload[1] = where[2];
    tell(0, LISTENING, 2);
    serve(fd);
    return 0;
}
