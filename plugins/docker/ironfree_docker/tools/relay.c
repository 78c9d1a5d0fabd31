/* Connections: to whom they are carried, and the bytes of those that are TCP.
 *
 * A connection is tried at one backend after another until one accepts; then whatever one side
 * sends is written to the other. A side is read only while nothing is pending for the other one,
 * its end is passed on once all is written, and a reset becomes a reset.
 */

#include "network.h"

enum { MOST_TRIES = 8, MOST_GREETED = 256, MOST_OF_KIND = 32768, MANY_BUFFERS = 256, HELLO = 48 };
/* What is behind a service on the host itself takes few: no client has more than a part of them. */
enum { MOST_OF_CLIENT = MOST_OF_KIND / 4, MOST_TO_HOST = 128, LOOPBACK = 127, CLIENTS = 1 << 16 };
enum { CONNECT_TIME = 3000, GREETING_TIME = 4000, HELLO_TIME = 5000, QUERY_TIME = 30000 };

POOL(connections, sizeof(struct connection), sizeof(struct connection), 9, 2 * MOST_OF_KIND);
POOL(buffers, BUFFER + 8, 8, 5, 4 * MOST_OF_KIND);
u8 key[32];
int keyed;
static u32 dead, greeted, oldest, newest, of_kind[2];
static u16 held[CLIENTS];
static int peers_fd = -1, peers_events, peers_failed, spare = -1;

struct connection *connection(u32 index)
{
    return item(&connections, index);
}

void set_deadline(struct connection *c, u64 deadline)
{
    waiting += !!deadline - !!c->deadline;
    c->deadline = deadline;
}

/* --- sides -------------------------------------------------------------------------------- */

u8 *pending(struct side *side)
{
    return (u8 *)item(&buffers, side->buffer) + 8;
}

int reserve(struct side *side)
{
    if (!side->buffer)
        side->buffer = take(&buffers), side->at = side->size = 0;
    return side->buffer != 0;
}

void release(struct side *side)
{
    if (!side->buffer)
        return;
    if (buffers.count > MANY_BUFFERS)
        SYS(MADVISE, (u8 *)item(&buffers, side->buffer) + 4096, BUFFER + 8 - 4096, 4);
    give(&buffers, side->buffer);
    side->buffer = side->size = 0;
}

int flush(struct side *side)
{
    while (side->size) {
        long put = SYS(SENDTO, side->fd, pending(side) + side->at, side->size, QUIET, 0, 0);
        if (put == -AGAIN)
            return 0;
        if (put < 0)
            return put;
        side->at += put, side->size -= put;
    }
    release(side);
    return 0;
}

void watch_side(u32 index, int s, int wanted)
{
    struct side *side = &connection(index)->side[s];
    if (side->fd >= 0)
        watch(side->fd, &side->events, wanted, s ? FAR : NEAR, index);
}

static void shut(struct side *side, int reset)
{
    int linger[2] = {1, 0};
    if (side->fd < 0)
        return;
    if (reset)
        SYS(SETSOCKOPT, side->fd, 1, 13, linger, 8);
    SYS(CLOSE, side->fd);
    side->fd = -1, side->events = 0;
}

u32 new_connection(enum role role, int protocol, int fd)
{
    u32 index = of_kind[protocol == UDP] < MOST_OF_KIND ? take(&connections) : 0;
    if (!index)
        return 0;
    struct connection *c = connection(index);
    of_kind[protocol == UDP]++;
    c->role = role, c->protocol = protocol, c->start = any_number(), c->score = ~0ul;
    c->side[0].fd = fd, c->side[1].fd = -1;
    return index;
}

/* How many connections a client has made. Few clients share a count with another one. */
static u16 *held_by(u32 client)
{
    return &held[mix(client) % CLIENTS];
}

/* Peers that have yet to say what they want, in the order in which they came. */
static void join_greeted(u32 index)
{
    struct connection *c = connection(index);
    c->state = GREETED, c->older = newest;
    *(newest ? &connection(newest)->newer : &oldest) = index;
    newest = index, greeted++;
}

static void leave_greeted(struct connection *c)
{
    *(c->older ? &connection(c->older)->newer : &oldest) = c->newer;
    *(c->newer ? &connection(c->newer)->older : &newest) = c->older;
    greeted--;
}

/* Events of this round may still name it: it is given back behind them. */
void drop(u32 index, int reset)
{
    struct connection *c = connection(index);
    if (c->state == DEAD && c->dead)
        return;
    if (c->state == GREETED)
        leave_greeted(c);
    if (c->protocol == UDP && c->role == SERVICE)
        forget_session(index);
    else if (c->role != RECEIVER)
        --*held_by(c->client), *held_by(~c->client) -= c->narrow;
    for (int s = 0; s < 2; s++)
        shut(&c->side[s], reset), release(&c->side[s]);
    set_deadline(c, 0);
    of_kind[c->protocol == UDP]--;
    c->state = DEAD, c->dead = dead ? dead : index, dead = index;
}

void reap(void)
{
    while (dead) {
        u32 index = dead, next = connection(index)->dead;
        dead = next == index ? 0 : next;
        give(&connections, index);
    }
}

/* --- where to ----------------------------------------------------------------------------- */

/* The backends in the order of a hash of client and backend: the best one below the last. */
static int choose_sticky(struct connection *c, struct listener *l)
{
    struct address *list = backends_of(l), *best = 0;
    u64 most = 0;
    for (u32 i = 0; i < l->count; i++) {
        u64 score = mix(mix((u64)c->client << 32 | list[i].ip) + list[i].port) >> 1;
        if (score < c->score && score >= most)
            most = score, best = &list[i];
    }
    if (!best)
        return 0;
    c->score = most, c->ip = best->ip, c->port = best->port;
    return 1;
}

static int choose(struct connection *c)
{
    if (c->role == RECEIVER)
        return c->tries++ == 0;
    if (c->role == UPSTREAM) {
        c->port = 53;
        return upstream(c->tries++, &c->ip);
    }
    struct listener *l = item(&listeners, c->listener);
    if (!l->used || l->serial != c->serial || c->tries >= MOST_TRIES || c->tries >= l->count)
        return 0;
    u32 turn = c->start % l->count + c->tries++;
    if (l->sticky)
        return choose_sticky(c, l);
    struct address *chosen = &backends_of(l)[turn % l->count];
    c->ip = chosen->ip, c->port = chosen->port;
    return 1;
}

static void established(u32 index)
{
    struct connection *c = connection(index);
    if (c->role == RECEIVER && SYS(SENDTO, c->side[0].fd, "", 1, QUIET, 0, 0) != 1) {
        drop(index, 1);
        return;
    }
    c->state = RELAYING;
    set_deadline(c, 0);
    if (c->protocol == UDP)
        datagrams_open(index);
    else
        serve_connection(index, 1, c->side[1].size ? OUTPUT : 0);
}

static void connected(u32 index)
{
    struct connection *c = connection(index);
    u8 hello[HELLO] = "IFN1";
    if (!c->through) {
        established(index);
        return;
    }
    memcpy(hello + 4, key, 32);
    hello[36] = c->protocol, put16(hello + 38, c->port), put32(hello + 40, c->ip);
    if (SYS(SENDTO, c->side[1].fd, hello, HELLO, QUIET, 0, 0) != HELLO) {
        try_next(index);
        return;
    }
    c->state = GREETING;
    set_deadline(c, now + GREETING_TIME);
    watch_side(index, 1, INPUT);
}

/* Whether a backend may be asked: through the peer at `host`, or at its own address. */
static int may_ask(struct connection *c, u32 *host)
{
    c->through = 0;
    if (c->role != SERVICE)
        return 1;
    if (in_self(c->ip))
        return is_pod(c->ip);
    c->through = behind(c->ip, host);
    if (c->through)
        return 1;
    /* We would connect to ourselves, without end. */
    return !leads_here(c->ip) && !(is_served(c->ip, c->port, c->protocol) && is_local(c->ip));
}

void try_next(u32 index)
{
    struct connection *c = connection(index);
    shut(&c->side[1], 1);
    while (choose(c)) {
        u32 host = c->ip;
        if (!may_ask(c, &host))
            continue;
        int type = c->protocol == TCP || c->through ? STREAM : DATAGRAM;
        long fd = address_socket(type, host, c->through ? peer_port : c->port, 0);
        if (fd < 0)
            continue;
        c->side[1].fd = fd, c->state = CONNECTING;
        set_deadline(c, now + CONNECT_TIME);
        watch_side(index, 0, 0);
        if (type == DATAGRAM)
            connected(index);
        else
            watch_side(index, 1, OUTPUT);
        return;
    }
    drop(index, c->role == SERVICE);
}

static void check_connected(u32 index)
{
    int error = 0, size = 4;
    SYS(GETSOCKOPT, connection(index)->side[1].fd, 1, 4, &error, &size);
    if (error)
        try_next(index);
    else
        connected(index);
}

static void check_greeting(u32 index)
{
    u8 answer = 1;
    long got = SYS(RECVFROM, connection(index)->side[1].fd, &answer, 1, 0x40, 0, 0);
    if (got == 1 && !answer)
        established(index);
    else if (got != -AGAIN)
        try_next(index);
}

/* --- from whom ---------------------------------------------------------------------------- */

/* With no descriptor left, one is kept to turn clients away; else the loop would spin. */
static long accept(int fd, u8 *where)
{
    int size = 16;
    if (spare < 0)
        spare = SYS(EPOLL_CREATE1, 02000000);
    long got = SYS(ACCEPT4, fd, where, &size, FRESH);
    if ((got != -TOO_MANY && got != -FULL_TABLE) || spare < 0)
        return got;
    SYS(CLOSE, spare);
    struct side turned_away = {.fd = SYS(ACCEPT4, fd, 0, 0, FRESH)};
    shut(&turned_away, 1);
    spare = SYS(EPOLL_CREATE1, 02000000);
    return -AGAIN;
}

static void take_client(u32 from, long fd, const u8 *where)
{
    struct listener *l = item(&listeners, from);
    u32 client = get16(where + 4) << 16 | get16(where + 6), index = 0;
    int narrow = !l->resolver && l->count && backends_of(l)->ip >> 24 == LOOPBACK;
    if (*held_by(client) < MOST_OF_CLIENT && (!narrow || *held_by(~client) < MOST_TO_HOST))
        index = new_connection(l->resolver ? UPSTREAM : SERVICE, TCP, fd);
    if (!index) {
        shut(&(struct side){.fd = fd}, 1);
        return;
    }
    struct connection *c = connection(index);
    c->listener = from, c->serial = l->serial;
    c->client = client, ++*held_by(client);
    c->narrow = narrow, *held_by(~client) += narrow;
    if (!l->resolver) {
        try_next(index);
        return;
    }
    c->state = ASKING;
    set_deadline(c, now + QUERY_TIME);
    watch_side(index, 0, INPUT);
}

void accept_clients(u32 from)
{
    struct listener *l = item(&listeners, from);
    u8 where[16];
    for (int i = 0; i < 64; i++) {
        long fd = accept(l->fd, where);
        if (fd < 0)
            return;
        take_client(from, fd, where);
    }
}

/* Whom one is meant for who was led to the port of peers: 0 who came there by himself. */
static int meant_for(long fd, u32 *ip, u32 *port)
{
    u8 meant[16];
    int size = 16;
    if (!natting || SYS(GETSOCKOPT, fd, 0, 80, meant, &size))
        return 0;
    *ip = get16(meant + 4) << 16 | get16(meant + 6), *port = get16(meant + 2);
    return in_range(*ip);
}

static int welcome(const u8 *hello)
{
    u8 differs = !keyed;
    for (int i = 0; i < 32; i++)
        differs |= hello[4 + i] ^ key[i];
    return !differs && !memcmp(hello, "IFN1", 4) && (hello[36] == TCP || hello[36] == UDP)
        && is_pod(get16(hello + 40) << 16 | get16(hello + 42));
}

static void check_hello(u32 index)
{
    struct connection *c = connection(index);
    u8 hello[HELLO];
    int least = 1;
    if (SYS(RECVFROM, c->side[0].fd, hello, HELLO, 0x40, 0, 0) != HELLO || !welcome(hello)) {
        drop(index, 0);
        return;
    }
    SYS(SETSOCKOPT, c->side[0].fd, 1, 18, &least, 4);
    leave_greeted(c);
    if (hello[36] == UDP)
        c->protocol = UDP, of_kind[0]--, of_kind[1]++;
    c->state = CONNECTING;
    c->port = get16(hello + 38), c->ip = get16(hello + 40) << 16 | get16(hello + 42);
    try_next(index);
}

void accept_peers(void)
{
    u8 where[16];
    int least = HELLO;
    for (int i = 0; i < 64; i++) {
        long fd = accept(peers_fd, where);
        if (fd < 0)
            return;
        u32 ip, port;
        if (meant_for(fd, &ip, &port)) {
            u32 listener = caught_listener(ip, port);
            if (listener)
                take_client(listener, fd, where);
            else
                shut(&(struct side){.fd = fd}, 1);
            continue;
        }
        if (greeted == MOST_GREETED)
            check_hello(oldest); /* it has had longer than others will: those who are silent go */
        u32 index = new_connection(RECEIVER, TCP, fd);
        if (!index) {
            SYS(CLOSE, fd);
            continue;
        }
        SYS(SETSOCKOPT, fd, 1, 18, &least, 4);
        join_greeted(index);
        set_deadline(connection(index), now + HELLO_TIME);
        watch_side(index, 0, INPUT);
    }
}

void listen_to_peers(void)
{
    if (peers_fd >= 0)
        return;
    peers_fd = address_socket(STREAM, 0, peer_port, 1);
    if (peers_fd >= 0) {
        waiting -= peers_failed, peers_failed = 0;
        watch(peers_fd, &peers_events, INPUT, PEERS, 0);
        start_nat();
    } else if (!peers_failed) {
        waiting++, peers_failed = 1;
        tell_peers(-peers_fd);
    }
}

void tell_peers_again(void)
{
    waiting -= peers_failed, peers_failed = 0;
    listen_to_peers();
}

/* --- bytes -------------------------------------------------------------------------------- */

static long pump(struct connection *c, int s)
{
    struct side *from = &c->side[s], *to = &c->side[!s];
    if (!reserve(to))
        return -NO_BUFFER;
    long got = SYS(RECVFROM, from->fd, pending(to), BUFFER, 0x40, 0, 0);
    if (got > 0)
        to->size = got;
    else if (!got)
        from->ended = 1;
    else if (got != -AGAIN)
        return got;
    return flush(to);
}

/* A side of which both ways have ended is closed, or it would be told of without an end. */
static void settle(u32 index)
{
    struct connection *c = connection(index);
    for (int s = 0; s < 2; s++) {
        struct side *side = &c->side[s];
        if (c->side[!s].ended && !side->size && !side->shut)
            SYS(SHUTDOWN, side->fd, 1), side->shut = 1;
    }
    for (int s = 0; s < 2; s++) {
        struct side *side = &c->side[s], *other = &c->side[!s];
        if (side->ended && side->shut)
            shut(side, 0);
        watch_side(index, s, (!side->ended && !other->size ? INPUT : 0)
                             | (side->size ? OUTPUT : 0));
    }
    if (c->side[0].fd < 0 && c->side[1].fd < 0)
        drop(index, 0);
}

/* What came before a reset is passed on as far as it is taken at once. */
static void drain(struct connection *c, int s)
{
    for (int i = 0; i < 64 && !c->side[s].ended && !c->side[!s].size; i++)
        if (pump(c, s) < 0)
            return;
}

static void relay_bytes(u32 index, int s, int events)
{
    struct connection *c = connection(index);
    struct side *side = &c->side[s];
    if (side->fd < 0)
        return;
    long result = events & FAILED ? -1 : 0;
    if (!result && side->size)
        result = flush(side);
    if (!result && events & (INPUT | HUNG_UP) && !side->ended && !c->side[!s].size)
        result = pump(c, s);
    if (result < 0)
        drain(c, 0), drain(c, 1), drop(index, 1);
    else
        settle(index);
}

void serve_connection(u32 index, int s, int events)
{
    struct connection *c = connection(index);
    if (c->state == GREETED)
        check_hello(index);
    else if (c->state == ASKING)
        take_asked(index, events);
    else if (c->state == RELAYING && c->protocol == UDP)
        relay_datagrams(index, s, events);
    else if (c->state == RELAYING)
        relay_bytes(index, s, events);
    else if (c->state != DEAD && !s && events & (FAILED | HUNG_UP))
        drop(index, 1);
    else if (c->state == CONNECTING && s)
        check_connected(index);
    else if (c->state == GREETING && s)
        check_greeting(index);
}

void check_deadlines(void)
{
    for (u32 index = 1; waiting && index <= connections.top; index++) {
        struct connection *c = connection(index);
        if (!c->used || !c->deadline || c->deadline > now)
            continue;
        if (c->state == CONNECTING || c->state == GREETING)
            try_next(index);
        else
            drop(index, c->protocol == TCP && c->role == SERVICE);
    }
    reap();
}
