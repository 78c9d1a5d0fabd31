/* What is where: listeners and their backends, this host's own pods, and the hosts of others'. */

#include "network.h"

enum { HEADS = 1 << 16, PEER_HEADS = 1 << 14, SELVES = 64, MOST_BACKENDS = 1000000 };
enum { NO_SPACE = 28, TOLD = 1, TO_TELL = 2, FREE = 2 };

struct network {
    u32 ip, length, generation;
};
struct peer {
    u32 next, used, chain, ip, length, host, generation;
};

POOL(listeners, sizeof(struct listener), sizeof(struct listener), 9, 65536);
POOL(peers, sizeof(struct peer), sizeof(struct peer), 9, 8192);
static u32 heads[HEADS], peer_heads[PEER_HEADS], lengths[33], backends;
static struct network selves[SELVES];
static u32 selves_count;
u32 failing;

static struct listener *listener(u32 index)
{
    return item(&listeners, index);
}

struct address *backends_of(struct listener *of)
{
    return slab_data(&of->backends);
}

/* --- sockets ------------------------------------------------------------------------------ */

static void option(int fd, int level, int name, int value)
{
    SYS(SETSOCKOPT, fd, level, name, &value, 4);
}

/* Accepted sockets inherit the options of the one that listens. */
long address_socket(int type, u32 ip, u32 port, int bound)
{
    u8 where[16] = {2, 0};
    long fd = SYS(SOCKET, 2, type | FRESH, 0), result;
    if (fd < 0)
        return fd;
    put16(where + 2, port), put32(where + 4, ip);
    if (type == STREAM)
        option(fd, 1, 9, 1), option(fd, 6, 1, 1), option(fd, 6, 4, 120), option(fd, 6, 5, 30),
            option(fd, 6, 6, 4);
    if (bound) {
        if (type == STREAM)
            option(fd, 1, 2, 1);
        else
            option(fd, 0, PACKET_INFO, 1);
        if (bound == FREE)
            option(fd, 0, 15, 1);
        result = SYS(BIND, fd, where, 16);
        if (!result && type == STREAM)
            result = SYS(LISTEN, fd, 4096);
    } else {
        result = SYS(CONNECT, fd, where, 16);
    }
    if (!result || result == -IN_PROGRESS)
        return fd;
    SYS(CLOSE, fd);
    return result;
}

static void open_socket(u32 index)
{
    struct listener *l = listener(index);
    if (l->fd >= 0)
        return;
    int bound = l->resolver ? FREE : 1; /* it is known before its range leads here */
    l->fd = address_socket(l->protocol == TCP ? STREAM : DATAGRAM, l->ip, l->port, bound);
    if (l->fd < 0) {
        if (!l->failed)
            failing++, waiting++;
        if (l->failed != TOLD)
            l->failed = TOLD, tell_listen(l->ip, l->port, l->protocol, -l->fd);
        l->fd = -1;
        return;
    }
    if (l->failed)
        l->failed = 0, failing--, waiting--;
    l->events = 0;
    watch(l->fd, &l->events, INPUT, LISTENER, index);
}

static void close_socket(u32 index)
{
    struct listener *l = listener(index);
    if (l->failed)
        l->failed = 0, failing--, waiting--;
    if (l->fd < 0)
        return;
    SYS(CLOSE, l->fd);
    l->fd = -1;
    check_sessions(index);
}

static int is_catchable(struct listener *l)
{
    return natting && l->protocol == TCP && in_range(l->ip);
}

static void close_listener(u32 index)
{
    struct listener *l = listener(index);
    if (l->caught)
        l->caught = 0, let_go(l->ip, l->port);
    close_socket(index);
}

static void reopen_listener(u32 index)
{
    struct listener *l = listener(index);
    int wanted = l->resolver || (l->count && !in_self(l->ip));
    int caught = wanted && is_catchable(l);
    if (!wanted || l->caught > caught)
        close_listener(index);
    if (caught && !l->caught)
        l->caught = 1, catch(l->ip, l->port), close_socket(index);
    else if (wanted && !caught)
        open_socket(index);
}

static void each_listener(void (*visit)(u32))
{
    for (u32 index = 1; index <= listeners.top; index++)
        if (listener(index)->used)
            visit(index);
}

void retry_listeners(void)
{
    for (u32 index = 1; failing && index <= listeners.top; index++)
        if (listener(index)->used && listener(index)->failed)
            reopen_listener(index);
    listen_to_peers();
}

/* Whoever states all anew is to know of every failure, told before or not. */
void tell_failures_again(void)
{
    for (u32 index = 1; failing && index <= listeners.top; index++)
        if (listener(index)->used && listener(index)->failed)
            listener(index)->failed = TO_TELL;
    tell_peers_again();
}

/* A listener without its range stays without a socket too, until it is said anew. */
static void move_listener(u32 index)
{
    struct listener *l = listener(index);
    if (natting && l->caught && !is_catchable(l))
        close_listener(index);
    else if (l->caught || is_catchable(l))
        reopen_listener(index);
}

void move_listeners(void)
{
    each_listener(move_listener);
}

static void catch_again(u32 index)
{
    if (listener(index)->caught)
        catch(listener(index)->ip, listener(index)->port);
}

void catch_all(void)
{
    each_listener(catch_again);
}

/* --- listeners ---------------------------------------------------------------------------- */

static u32 *find_listener(u32 ip, u32 port, u32 protocol)
{
    u32 *at = &heads[mix((u64)ip << 24 | port << 8 | protocol) % HEADS];
    for (; *at; at = &listener(*at)->chain)
        if (listener(*at)->ip == ip && listener(*at)->port == port
            && listener(*at)->protocol == protocol)
            break;
    return at;
}

static u32 add_listener(struct listener *said, u32 *at)
{
    static u32 serial;
    u32 index = take(&listeners);
    if (!index) {
        tell_listen(said->ip, said->port, said->protocol, FULL_TABLE);
        return 0;
    }
    struct listener *l = listener(index);
    l->ip = said->ip, l->port = said->port, l->protocol = said->protocol, l->fd = -1;
    l->serial = ++serial;
    return *at = index;
}

static void replace_backends(struct listener *l, struct listener *said, const struct address *list)
{
    u32 bytes = said->count * sizeof *list;
    backends -= l->count, l->count = 0;
    slab_give(&l->backends);
    if (said->count
        && (said->count > MOST_BACKENDS - backends || !slab_take(&l->backends, bytes))) {
        tell_listen(l->ip, l->port, l->protocol, NO_SPACE);
        return;
    }
    if (said->count)
        memcpy(backends_of(l), list, bytes);
    l->count = said->count, backends += l->count;
}

void say_listener(struct listener *said, const struct address *list)
{
    u32 *at = find_listener(said->ip, said->port, said->protocol);
    u32 index = *at ? *at : add_listener(said, at);
    if (!index)
        return;
    struct listener *l = listener(index);
    l->generation = said->generation, l->sticky = said->sticky;
    if (l->resolver != said->resolver)
        close_listener(index), l->resolver = said->resolver;
    if (l->count != said->count
        || (l->count && memcmp(backends_of(l), list, l->count * sizeof *list))) {
        replace_backends(l, said, list);
        check_sessions(index);
    }
    reopen_listener(index);
}

static void forget_listener(u32 *at)
{
    u32 index = *at;
    struct listener *l = listener(index);
    *at = l->chain, backends -= l->count, l->count = 0;
    close_listener(index);
    slab_give(&l->backends);
    give(&listeners, index);
}

void remove_listener(u32 ip, u32 port, u32 protocol)
{
    u32 *at = find_listener(ip, port, protocol);
    if (*at)
        forget_listener(at);
}

u32 caught_listener(u32 ip, u32 port)
{
    u32 index = *find_listener(ip, port, TCP);
    return index && listener(index)->caught ? index : 0;
}

int is_resolver(u32 ip, u32 port)
{
    u32 index = *find_listener(ip, port, UDP);
    return index && listener(index)->resolver;
}

static int serves(u32 index)
{
    struct listener *l = listener(index);
    return index && !l->failed && (l->count || l->resolver);
}

/* Whether we listen there, if it is an address of this host. */
int is_served(u32 ip, u32 port, u32 protocol)
{
    return serves(*find_listener(ip, port, protocol)) || serves(*find_listener(0, port, protocol));
}

/* --- where pods are ----------------------------------------------------------------------- */

int in_self(u32 ip)
{
    for (u32 i = 0; i < selves_count; i++)
        if ((ip & mask_of(selves[i].length)) == selves[i].ip)
            return 1;
    return 0;
}

/* Networks' own addresses, those of their gateways, which are this host, and the last ones are
 * no pods'.
 */
int is_pod(u32 ip)
{
    for (u32 i = 0; i < selves_count; i++) {
        u32 most = ~mask_of(selves[i].length), within = ip & most;
        if (ip - within == selves[i].ip && (within < 2 || within == most))
            return 0;
    }
    return in_self(ip);
}

void say_self(u32 ip, u32 length, u32 generation)
{
    u32 i = 0;
    while (i < selves_count && (selves[i].ip != ip || selves[i].length != length))
        i++;
    if (i == SELVES)
        return;
    if (asks_in(ip, length)) /* the network is there already, so this is told, and no more */
        tell_range(ip, length, EXISTS);
    selves[i] = (struct network){ip, length, generation};
    if (i == selves_count) {
        selves_count++;
        each_listener(reopen_listener);
    }
}

static u32 *find_peer(u32 ip, u32 length)
{
    u32 *at = &peer_heads[mix((u64)ip << 8 | length) % PEER_HEADS];
    for (struct peer *peer; *at; at = &peer->chain) {
        peer = item(&peers, *at);
        if (peer->ip == ip && peer->length == length)
            break;
    }
    return at;
}

void say_peer(u32 ip, u32 length, u32 host, u32 generation)
{
    u32 *at = find_peer(ip, length);
    if (!*at) {
        u32 index = take(&peers);
        if (!index)
            return;
        struct peer *peer = item(&peers, index);
        peer->ip = ip, peer->length = length;
        *at = index, lengths[length]++;
    }
    struct peer *peer = item(&peers, *at);
    peer->host = host, peer->generation = generation;
}

static void forget_peer(u32 *at)
{
    u32 index = *at;
    struct peer *peer = item(&peers, index);
    *at = peer->chain, lengths[peer->length]--;
    give(&peers, index);
}

void remove_peer(u32 ip, u32 length)
{
    u32 *at = find_peer(ip, length);
    if (*at)
        forget_peer(at);
}

int behind(u32 ip, u32 *host)
{
    for (int length = 32; length >= 0; length--) {
        if (!lengths[length])
            continue;
        u32 index = *find_peer(ip & mask_of(length), length);
        if (index) {
            *host = ((struct peer *)item(&peers, index))->host;
            return 1;
        }
    }
    return 0;
}

void sweep_services(u32 generation)
{
    u32 before = selves_count, kept = 0;
    for (u32 i = 0; i < before; i++)
        if (selves[i].generation == generation)
            selves[kept++] = selves[i];
    selves_count = kept;
    for (u32 index = 1; index <= listeners.top; index++) {
        struct listener *l = listener(index);
        if (l->used && l->generation != generation)
            forget_listener(find_listener(l->ip, l->port, l->protocol));
    }
    for (u32 index = 1; index <= peers.top; index++) {
        struct peer *peer = item(&peers, index);
        if (peer->used && peer->generation != generation)
            forget_peer(find_peer(peer->ip, peer->length));
    }
    if (kept != before)
        each_listener(reopen_listener);
}
