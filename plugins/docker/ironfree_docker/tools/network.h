/* What the files of `tools network` share. Addresses and ports are in the processor's order. */

#ifndef NETWORK_H
#define NETWORK_H

#include "calls.h"

enum { TCP = 6, UDP = 17, INPUT = 1, OUTPUT = 4, FAILED = 8, HUNG_UP = 16, QUIET = 0x4040 };
enum { STREAM = 1, DATAGRAM = 2, FRESH = 04000 | 02000000, PACKET_INFO = 8 };
enum { MOST_LINE = 65536, MOST_NAME = 255, BUFFER = 65528, MOST_DATAGRAM = 65507 };

/* --- memory.c: tables that grow as they are used ------------------------------------------ */

struct pool {
    u32 size, clear, shift, limit, count, top, free;
    u8 **chunks;
};
/* A pool of which each item has its first `wiped` bytes cleared as it is taken. */
#define POOL(name, bytes, wiped, chunk_shift, most) \
    static u8 *name##_chunks[((most) >> (chunk_shift)) + 1]; \
    struct pool name = {.size = bytes, .clear = wiped, .shift = chunk_shift, .limit = most, \
                        .chunks = name##_chunks}
struct item {
    u32 next, used;
};
struct slab { /* room for 8 << class bytes */
    u32 at, class;
};

void *memset(void *at, int value, u64 size);
int memcmp(const void *a, const void *b, u64 size);
void *item(struct pool *pool, u32 index);
u32 take(struct pool *pool);
void give(struct pool *pool, u32 index);
int slab_take(struct slab *slab, u32 bytes);
void slab_give(struct slab *slab);
void *slab_data(struct slab *slab);
u64 mix(u64 value);
u32 hash_bytes(const u8 *at, u32 size);
u64 any_number(void);
u32 get16(const u8 *at);
void put16(u8 *at, u32 value);
void put32(u8 *at, u32 value);

/* --- network.c: the loop, the clock and what is told --------------------------------------- */

enum source { LINES, SIGNALS, PEERS, LISTENER, NEAR, FAR, QUERY };
extern u64 now;
extern u32 waiting; /* how many things want the clock's ticks */

int watch(int fd, int *events, int wanted, enum source source, u32 index);
void tell_done(const char *number);
void tell_listen(u32 ip, u32 port, u32 protocol, long error);
void tell_range(u32 ip, u32 length, long error);
void tell_peers(long error);
void tell_nat(long error);

/* --- lines.c: what is read ---------------------------------------------------------------- */

void take_input(const u8 *at, long size);
int parse_address(const char *text, u32 *ip);

/* --- routes.c ----------------------------------------------------------------------------- */

void add_range(u32 ip, u32 length, u32 generation);
void remove_range(u32 ip, u32 length);
void sweep_ranges(u32 generation);
int leads_here(u32 ip);
int is_local(u32 ip);
int in_range(u32 ip);
void each_range(void (*visit)(u32 ip, u32 length));
void remove_ranges(void);

/* --- nat.c: services that nf_tables leads to the port of peers ------------------------------ */

extern int natting, ranges_changed;
void start_nat(void);
void catch(u32 ip, u32 port);
void let_go(u32 ip, u32 port);
void settle_nat(void);
void end_nat(void);

/* --- services.c: listeners, their backends and where pods are ------------------------------ */

struct address {
    u32 ip;
    u16 port, unused;
};
struct listener {
    u32 next, used, chain, generation, serial, ip, count, sessions;
    u16 port;
    u8 protocol, sticky, resolver, failed, caught;
    int fd, events;
    struct slab backends;
};
extern struct pool listeners;
extern u32 failing;
extern u32 peer_port;

static inline u32 mask_of(u32 length) { return length ? ~0u << (32 - length) : 0; }
struct address *backends_of(struct listener *listener);
int in_self(u32 ip);
int is_pod(u32 ip);
int behind(u32 ip, u32 *host);
void say_listener(struct listener *said, const struct address *backends);
void remove_listener(u32 ip, u32 port, u32 protocol);
void say_self(u32 ip, u32 length, u32 generation);
void say_peer(u32 ip, u32 length, u32 host, u32 generation);
void remove_peer(u32 ip, u32 length);
void sweep_services(u32 generation);
void retry_listeners(void);
void tell_failures_again(void);
void move_listeners(void);
void catch_all(void);
u32 caught_listener(u32 ip, u32 port);
int is_resolver(u32 ip, u32 port);
int is_served(u32 ip, u32 port, u32 protocol);
long address_socket(int type, u32 ip, u32 port, int bound);

/* --- relay.c: connections ----------------------------------------------------------------- */

enum state { DEAD, GREETED, ASKING, ASKING_ON, CONNECTING, GREETING, RELAYING };
enum role { SERVICE, RECEIVER, UPSTREAM };
struct side { /* what is pending is to be written to this side */
    int fd, events;
    u32 buffer, at, size;
    u8 ended, shut;
};
struct connection {
    u32 next, used, chain, dead, older, newer, listener, serial, client, ip, local, start;
    u16 port, client_port;
    u8 state, role, protocol, through, tries, narrow;
    struct side side[2]; /* who connected; where it is carried to */
    u64 score, deadline;
};
extern struct pool connections, buffers;
extern u8 key[32];
extern int keyed;

struct connection *connection(u32 index);
u32 new_connection(enum role role, int protocol, int fd);
void drop(u32 index, int reset);
void try_next(u32 index);
void watch_side(u32 index, int side, int wanted);
void set_deadline(struct connection *c, u64 deadline);
u8 *pending(struct side *side);
int reserve(struct side *side);
void release(struct side *side);
int flush(struct side *side);
void accept_clients(u32 listener);
void accept_peers(void);
void listen_to_peers(void);
void tell_peers_again(void);
void serve_connection(u32 index, int side, int events);
void check_deadlines(void);
void reap(void);

/* --- datagrams.c -------------------------------------------------------------------------- */

void take_datagrams(u32 listener);
void relay_datagrams(u32 index, int side, int events);
void datagrams_open(u32 index);
void forget_session(u32 index);
void check_sessions(u32 listener);

/* --- names.c: what is known --------------------------------------------------------------- */

enum kind { KIND_A, KIND_SRV, KIND_CNAME };
struct record {
    u32 next, used, generation, node, size, turn;
    u8 kind;
    struct slab data;
};
struct node {
    u32 next, used, chain, parent, children, records[3];
    u32 size;
    struct slab name;
};

int wire_name(const char *text, u8 *wire);
void say_zone(const u8 *wire, u32 size, u32 generation);
void say_name(const u8 *wire, u32 size, enum kind kind, const u8 *data, u32 bytes, u32 generation);
void remove_name(const u8 *wire, u32 size, enum kind kind);
void sweep_names(u32 generation);
struct node *find_node(const u8 *wire, u32 size);
struct record *record_of(struct node *node, enum kind kind);
const u8 *zone_of(const u8 *wire, u32 size, u32 *zone_size);

/* --- answers.c: one query, one answer ------------------------------------------------------ */

struct query {
    const u8 *at;
    u32 size, question_end, type, class, limit, name_size;
    u32 alias, end, count, most; /* of an answer that ends with an alias for a name elsewhere */
    u8 edns, version;
    u8 name[MOST_NAME + 1];
};
enum answer { SILENCE = 0, ELSEWHERE = -1, ALIAS_ELSEWHERE = -2 };
enum { OPT_SIZE = 11 };
int answer_query(const u8 *at, u32 size, u8 *out, u32 most, struct query *query);
u32 ask_alias(struct query *query, const u8 *out, u8 *question);
int answer_alias(struct query *query, u8 *out, const u8 *got, u32 size);
int answer_code(struct query *query, u8 *out, int code);

/* --- resolve.c: what is asked ------------------------------------------------------------- */

void take_queries(u32 listener);
void take_answer(u32 query);
void check_queries(void);
void take_asked(u32 connection, int events);
int upstream(u32 tries, u32 *ip);
int asks_in(u32 ip, u32 length);

#endif
