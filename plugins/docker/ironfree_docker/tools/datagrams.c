/* Datagrams to services: a session for each client of a listener, to one backend, until it has
 * been idle for a minute. Through a peer each has its size before it; what cannot be sent at
 * once, or kept in one buffer, is lost, as datagrams may be.
 */

#include "network.h"

enum { HEADS = 1 << 16, IDLE_TIME = 60000, ROUNDS = 64 };

/* A message with the address of this host that it came to, or is to come from. */
struct packet {
    u8 where[16];
    struct {
        u8 *at;
        u64 size;
    } data;
    struct {
        u64 size;
        int level, type, interface;
        u8 local[4], to[4];
    } info;
    struct {
        void *where;
        u64 where_size;
        void *data;
        u64 count;
        void *info;
        u64 info_size, flags;
    } header;
};
static u32 heads[HEADS];
static u8 datagram[65536];

static u32 *find_session(u32 listener, u32 client, u32 port, u32 local)
{
    u64 ends = mix((u64)client << 16 | port) + ((u64)local << 16 | listener);
    u32 *at = &heads[mix(ends) % HEADS];
    for (struct connection *c; *at; at = &c->chain) {
        c = connection(*at);
        if (c->listener == listener && c->client == client && c->client_port == port
            && c->local == local)
            break;
    }
    return at;
}

void forget_session(u32 index)
{
    struct connection *c = connection(index);
    *find_session(c->listener, c->client, c->client_port, c->local) = c->chain;
    ((struct listener *)item(&listeners, c->listener))->sessions--;
}

static int still_behind(struct listener *l, struct connection *c)
{
    struct address *list = l->count ? backends_of(l) : 0;
    for (u32 i = 0; i < l->count; i++)
        if (list[i].ip == c->ip && list[i].port == c->port)
            return 1;
    return 0;
}

/* After a listener or its backends have changed: sessions to what is no more are ended. */
void check_sessions(u32 listener)
{
    struct listener *l = item(&listeners, listener);
    for (u32 index = 1; l->sessions && index <= connections.top; index++) {
        struct connection *c = connection(index);
        if (c->used && c->state != DEAD && c->protocol == UDP && c->role == SERVICE
            && c->listener == listener && (l->fd < 0 || !still_behind(l, c)))
            drop(index, 0);
    }
}

/* --- packets ------------------------------------------------------------------------------ */

static void lay_out(struct packet *p, const u8 *at, u64 size)
{
    p->data.at = (u8 *)at, p->data.size = size;
    p->header.where = p->where, p->header.where_size = sizeof p->where;
    p->header.data = &p->data, p->header.count = 1;
    p->header.info = &p->info, p->header.info_size = sizeof p->info;
}

static long receive(int fd, struct packet *p)
{
    *p = (struct packet){0};
    lay_out(p, datagram, sizeof datagram);
    return SYS(RECVMSG, fd, &p->header, 0x40);
}

static void to_client(struct connection *c, const u8 *at, u32 size)
{
    struct listener *l = item(&listeners, c->listener);
    struct packet p = {.where = {2, 0}, .info = {.size = 28, .type = PACKET_INFO}};
    lay_out(&p, at, size);
    put16(p.where + 2, c->client_port), put32(p.where + 4, c->client);
    put32(p.info.local, c->local);
    SYS(SENDMSG, l->fd, &p.header, QUIET);
}

/* --- frames ------------------------------------------------------------------------------- */

static void put_frame(struct side *side, const u8 *at, u32 size)
{
    if (!reserve(side) || side->size + size + 2 > BUFFER)
        return;
    u8 *start = pending(side);
    memmove(start, start + side->at, side->size);
    side->at = 0;
    put16(start + side->size, size);
    memcpy(start + side->size + 2, at, size);
    side->size += size + 2;
}

/* Sends on the whole datagrams that are there; 0 if one is longer than any, or refused. */
static int take_frames(struct connection *c, struct side *frames)
{
    u8 *start = pending(frames);
    u32 at = 0;
    while (at + 2 <= frames->size) {
        u32 size = get16(start + at);
        if (size > MOST_DATAGRAM)
            return 0;
        if (at + 2 + size > frames->size)
            break;
        if (c->role == SERVICE && c->through)
            to_client(c, start + at + 2, size);
        else if (SYS(SENDTO, c->side[1].fd, start + at + 2, size, QUIET, 0, 0) == -IS_REFUSED)
            return 0;
        at += 2 + size;
    }
    frames->size -= at;
    memmove(start, start + at, frames->size);
    if (!frames->size)
        release(frames);
    return 1;
}

/* --- sessions ----------------------------------------------------------------------------- */

static void settle(u32 index, int s)
{
    struct side *side = &connection(index)->side[s];
    if (flush(side) < 0)
        drop(index, 1);
    else
        watch_side(index, s, INPUT | (side->size ? OUTPUT : 0));
}

void datagrams_open(u32 index)
{
    struct connection *c = connection(index);
    set_deadline(c, now + IDLE_TIME);
    watch_side(index, 1, INPUT);
    if (c->role == RECEIVER)
        watch_side(index, 0, INPUT);
    else if (c->through)
        settle(index, 1);
    else if (c->side[1].size)
        take_frames(c, &c->side[1]);
}

static u32 new_session(u32 listener, u32 client, u32 port, u32 local)
{
    struct listener *l = item(&listeners, listener);
    u32 index = new_connection(SERVICE, UDP, -1);
    if (!index)
        return 0;
    struct connection *c = connection(index);
    c->listener = listener, c->serial = l->serial;
    c->client = client, c->client_port = port, c->local = local;
    *find_session(listener, client, port, local) = index;
    l->sessions++;
    return index;
}

/* A backend that refuses is told of by an error, or by a reset of the peer's connection. */
static void move_on(u32 index)
{
    struct connection *c = connection(index);
    if (c->role == RECEIVER) {
        drop(index, 1);
        return;
    }
    release(&c->side[0]), release(&c->side[1]);
    try_next(index);
}

static void to_backend(u32 index, const u8 *at, u32 size)
{
    struct connection *c = connection(index);
    if (c->state == RELAYING)
        set_deadline(c, now + IDLE_TIME);
    if (c->state == RELAYING && !c->through) {
        /* The error is that of an earlier one. */
        if (SYS(SENDTO, c->side[1].fd, at, size, QUIET, 0, 0) != -IS_REFUSED)
            return;
        put_frame(&c->side[1], at, size);
        try_next(index);
        return;
    }
    put_frame(&c->side[1], at, size);
    if (c->state == RELAYING)
        settle(index, 1);
    else if (c->state == DEAD)
        try_next(index);
}

void take_datagrams(u32 from)
{
    struct listener *l = item(&listeners, from);
    struct packet p;
    for (int i = 0; i < ROUNDS && l->fd >= 0; i++) {
        long size = receive(l->fd, &p);
        if (size < 0)
            return;
        u32 client = get16(p.where + 4) << 16 | get16(p.where + 6), port = get16(p.where + 2);
        u32 local = get16(p.info.local) << 16 | get16(p.info.local + 2);
        u32 known = *find_session(from, client, port, local);
        u32 index = known ? known : new_session(from, client, port, local);
        if (index)
            to_backend(index, datagram, size);
    }
}

static void from_pod(u32 index)
{
    struct connection *c = connection(index);
    for (int i = 0; i < ROUNDS; i++) {
        long size = SYS(RECVFROM, c->side[1].fd, datagram, sizeof datagram, 0x40, 0, 0);
        if (size == -AGAIN)
            break;
        if (size < 0) {
            move_on(index);
            return;
        }
        set_deadline(c, now + IDLE_TIME);
        if (c->role == SERVICE)
            to_client(c, datagram, size);
        else
            put_frame(&c->side[0], datagram, size);
    }
    if (c->role == RECEIVER)
        settle(index, 0);
}

static void from_peer(u32 index, int s, int events)
{
    struct connection *c = connection(index);
    struct side *side = &c->side[s], *frames = &c->side[!s];
    if (events & (INPUT | HUNG_UP)) {
        if (!reserve(frames))
            return;
        u32 room = BUFFER - frames->size;
        long size = SYS(RECVFROM, side->fd, pending(frames) + frames->size, room, 0x40, 0, 0);
        if (!size || (size < 0 && size != -AGAIN)) {
            drop(index, 0);
            return;
        }
        frames->size += size > 0 ? size : 0;
        set_deadline(c, now + IDLE_TIME);
        if (!take_frames(c, frames)) {
            drop(index, 1);
            return;
        }
    }
    settle(index, s);
}

void relay_datagrams(u32 index, int s, int events)
{
    struct connection *c = connection(index);
    int framed = c->role == RECEIVER ? !s : c->through;
    if (framed && events & FAILED)
        c->role == RECEIVER ? drop(index, 0) : move_on(index);
    else if (framed)
        from_peer(index, s, events);
    else
        from_pod(index);
}
