/* The addresses and names of services, for the pods of one host:  tools network PORT
 *
 * One such process runs on a host. Connections and datagrams to the address of a service are
 * carried to one of its backends: directly, or through the peer on the host that the backend
 * is on; peers listen on PORT. Names are answered or asked of the host's own name servers.
 *
 * Lines on standard input, each ending with the word ".", say what there is, and take effect at
 * once. A line that is cut, too long (65,536 bytes) or not understood is ignored; the end of the
 * input changes nothing.
 *   reset N .      a complete statement follows: what it does not say again, `commit N` drops; of
 *                  two that were begun, what either says is kept. Without N, any commit is its
 *   commit N .     answered by "done N"; where N is no statement, nothing is dropped
 *   key HEX .      32 bytes that peers show each other
 *   self CIDR .    addresses of this host's own pods, the only ones that peers may ask for: but
 *                  the first two, the network's and its gateway's, and the last
 *   range CIDR .   addresses that lead to this host              unrange CIDR .
 *   peer CIDR IP . pods behind another host                      unpeer CIDR .
 *   listen IP PORT tcp|udp STICKY IP:PORT... .                   unlisten IP PORT tcp|udp .
 *   resolver IP PORT .    where to answer names: before its range    zone NAME .  all names known
 *   name FQDN a IP... . | srv PORT:TARGET... . | cname TARGET .  unname FQDN a|srv|cname .
 * Told on standard output, with Linux's numbers of errors, once for each complete statement:
 *   done N    fail listen IP PORT tcp|udp ERRNO    fail range CIDR ERRNO    fail peers ERRNO
 *   fail nat ERRNO    each service needs a socket of its own: nf_tables cannot be had
 *
 * A peer begins with 48 bytes: "IFN1", the key, u8 protocol (6 or 17), u8 0, u16 port, 4 bytes
 * of IPv4, 4 bytes 0. The answer is a byte 0 when the pod has accepted, else the end; then bytes
 * follow both ways, or datagrams with a u16 length before each (numbers are big-endian).
 */

#include "network.h"

enum { EVENTS = 256, TICK = 250, ADDED = 1 << 16, TOLD = 65536 };

#if defined(__x86_64__)
#define PACKED __attribute__((packed))
#else
#define PACKED
#endif
struct PACKED event {
    u32 events;
    u64 data;
};
struct signal {
    u32 number;
    u8 rest[124];
};

u64 now;
u32 waiting, peer_port;
static long epoll, signals;
static u8 told[TOLD];
static u32 told_size;

int watch(int fd, int *events, int wanted, enum source source, u32 index)
{
    struct event event = {wanted, (u64)source << 32 | index};
    if (*events == (wanted | ADDED))
        return 0;
    long result = SYS(EPOLL_CTL, epoll, *events ? 3 : 1, fd, &event);
    *events = wanted | ADDED;
    return result;
}

/* --- what is told ------------------------------------------------------------------------- */

/* Nobody may be reading: what does not fit waits for the next tick. */
static void flush_told(void)
{
    struct pollfd out = {1, OUTPUT, 0};
    long no_time[2] = {0, 0};
    while (told_size && SYS(PPOLL, &out, 1, no_time, 0, 8) == 1 && out.revents & OUTPUT) {
        long put = SYS(WRITE, 1, told, told_size < 4096 ? told_size : 4096);
        if (put <= 0) {
            told_size = put == -AGAIN || put == -INTERRUPTED ? told_size : 0;
            break;
        }
        told_size -= put;
        memmove(told, told + put, told_size);
    }
}

static void put_text(const char *text)
{
    while (*text && told_size < TOLD)
        told[told_size++] = *text++;
}

static void put_number(u32 number)
{
    char digits[11], *at = digits + 10;
    *at = 0;
    do
        *--at = '0' + number % 10;
    while (number /= 10);
    put_text(at);
}

static void put_address(u32 ip)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        put_number(ip >> shift & 255), put_text(shift ? "." : "");
}

static int room(void)
{
    return told_size + 128 <= TOLD;
}

static void put_error(long error)
{
    put_text(" "), put_number(error), put_text("\n");
    flush_told();
}

void tell_done(const char *number)
{
    if (room())
        put_text("done "), put_text(number), put_text("\n");
    flush_told();
}

void tell_listen(u32 ip, u32 port, u32 protocol, long error)
{
    if (!room())
        return;
    put_text("fail listen "), put_address(ip), put_text(" "), put_number(port);
    put_text(protocol == TCP ? " tcp" : " udp"), put_error(error);
}

void tell_range(u32 ip, u32 length, long error)
{
    if (!room())
        return;
    put_text("fail range "), put_address(ip), put_text("/"), put_number(length), put_error(error);
}

void tell_peers(long error)
{
    if (room())
        put_text("fail peers"), put_error(error);
}

void tell_nat(long error)
{
    if (room())
        put_text("fail nat"), put_error(error);
}

/* --- the loop ----------------------------------------------------------------------------- */

static void read_clock(void)
{
    long time[2];
    SYS(CLOCK_GETTIME, 1, time);
    now = time[0] * 1000 + time[1] / 1000000;
}

static u8 got[65536];

static void read_lines(void)
{
    long size = SYS(READ, 0, got, sizeof got);
    if (size > 0)
        take_input(got, size);
    else if (size != -AGAIN && size != -INTERRUPTED)
        SYS(EPOLL_CTL, epoll, 2, 0, 0);
}

static void read_signals(void)
{
    static struct signal signal;
    if (SYS(READ, signals, &signal, sizeof signal) != sizeof signal)
        return;
    end_nat();
    remove_ranges();
    for (;;)
        SYS(EXIT, 0);
}

static void take_listener(u32 index)
{
    struct listener *l = item(&listeners, index);
    if (!l->used || l->fd < 0)
        return;
    if (l->protocol == TCP)
        accept_clients(index);
    else if (l->resolver)
        take_queries(index);
    else
        take_datagrams(index);
}

static void take_event(enum source source, u32 index, u32 events)
{
    switch (source) {
    case LINES: read_lines(); break;
    case SIGNALS: read_signals(); break;
    case PEERS: accept_peers(); break;
    case LISTENER: take_listener(index); break;
    case NEAR: serve_connection(index, 0, events); break;
    case FAR: serve_connection(index, 1, events); break;
    case QUERY: take_answer(index); break;
    }
}

static void tick(void)
{
    static u64 next_retry;
    check_deadlines();
    check_queries();
    flush_told();
    if (now >= next_retry)
        next_retry = now + 5000, retry_listeners();
}

static void serve(void)
{
    static struct event events[EVENTS];
    for (u64 next_tick = 0;;) {
        settle_nat();
        int pause = waiting || told_size ? TICK : -1;
        long count = SYS(EPOLL_PWAIT, epoll, events, EVENTS, pause, 0, 8);
        read_clock();
        for (long i = 0; i < count; i++)
            take_event(events[i].data >> 32, events[i].data, events[i].events);
        reap();
        if (now >= next_tick)
            next_tick = now + TICK, tick();
    }
}

static u32 port_of(const char *text)
{
    u32 port = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || port > 6553)
            return 0;
        port = port * 10 + *text - '0';
    }
    return port <= 65535 ? port : 0;
}

int network(const char *port)
{
    u64 mask = 1 << (2 - 1) | 1 << (13 - 1) | 1 << (15 - 1), most[2];
    int unwatched[2] = {0, 0};
    if (!(peer_port = port_of(port)))
        return 64;
    SYS(SIGPROCMASK, 0, &mask, 0, 8);
    mask &= ~(1ul << (13 - 1));
    if (!SYS(PRLIMIT, 0, 7, 0, most))
        most[0] = most[1], SYS(PRLIMIT, 0, 7, most, 0);
    epoll = SYS(EPOLL_CREATE1, 02000000);
    signals = SYS(SIGNALFD4, -1, &mask, 8, FRESH);
    if (epoll < 0 || signals < 0)
        return 1;
    read_clock();
    watch(signals, &unwatched[0], INPUT, SIGNALS, 0);
    if (watch(0, &unwatched[1], INPUT, LINES, 0) == -1) /* a file, which cannot be waited for */
        for (long size; (size = SYS(READ, 0, got, sizeof got)) > 0;)
            take_input(got, size);
    listen_to_peers();
    serve();
    return 0;
}
