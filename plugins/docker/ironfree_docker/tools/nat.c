/* Connections to services without a socket for each: nf_tables leads them to the port of peers,
 * where the connection itself tells whom it was meant for. So a service and the host's programs
 * may listen on the same port, and what else is translated on the host (Docker's published
 * ports) has no hold of addresses that are services'.
 *
 * One table, "ironfree-PORT": two chains before Docker's, which go on to the third, and a set of
 * the addresses and ports that are served. What else comes in for services' addresses by TCP is
 * refused, or a program that listens on all addresses would answer in the place of a service
 * without backends. The table goes with the socket that made it, where the kernel
 * knows that; else the next program of this name removes it. What changes is gathered in one
 * batch, which the kernel takes as a whole or not at all.
 */

#include "network.h"

enum { NEW_TABLE = 0xa00, DELETE_TABLE = 0xa02, NEW_CHAIN = 0xa03, NEW_RULE = 0xa06,
       DELETE_RULE = 0xa08, NEW_SET = 0xa09, NEW_ELEMENT = 0xa0c, DELETE_ELEMENT = 0xa0e,
       BATCH_BEGIN = 16, BATCH_END = 17, ERROR = 2 };
enum { REQUEST = 1, ACK = 4, EXCLUSIVE = 0x200, CREATE = 0x400, APPEND = 0x800 };
enum { OWNED = 2, NESTED = 0x8000, BATCH = 160 << 10, MOST_RULE = 512, MOST_LIST = 60000 };
enum { PREROUTING = 0, INCOMING = 1, OUTGOING = 3, BEFORE_DOCKER = -101, ADDRESS_AND_PORT = 7 << 6 | 13 };
enum { NETWORK_HEADER = 1, TRANSPORT_HEADER = 2, L4_PROTOCOL = 16, REGISTER = 1, NEXT_REGISTER = 9,
       JUMP = -3, DESTINATION = 1, GIVEN_PORT = 2, RESET = 1, NEW_CONNECTION = 8 };

struct head {
    u32 length;
    u16 type, flags;
    u32 sequence, sender;
    u8 family, version, resource[2];
};

int natting, ranges_changed;
static char table[16] = "ironfree-";
static const char services[] = "services", input[] = "input", refused[] = "refused";
static int refusing;
static long nat_fd = -1;
static u8 batch[BATCH] __attribute__((aligned(8)));
static u32 size, message, list, nests[8], depth;
static u16 list_type;
static long broken;

/* --- messages ----------------------------------------------------------------------------- */

static struct head *head(void)
{
    return (void *)(batch + message);
}

static u8 *put(u32 bytes)
{
    u8 *at = batch + size;
    bytes = (bytes + 3) & ~3;
    memset(at, 0, bytes);
    size += bytes, head()->length = size - message;
    return at;
}

static void put_head(u16 type, u16 flags)
{
    int framing = type == BATCH_BEGIN || type == BATCH_END;
    message = size, list_type = 0;
    put(sizeof(struct head));
    *head() = (struct head){.length = sizeof(struct head), .type = type, .flags = flags | REQUEST,
                            .family = framing ? 0 : 2, .resource = {0, framing ? 10 : 0}};
}

/* The first of a batch is answered; and so is whatever fails. */
static void start(u16 type, u16 flags)
{
    if (size) {
        put_head(type, flags);
        return;
    }
    put_head(BATCH_BEGIN, 0);
    put_head(type, flags | ACK);
}

static void attribute(u16 type, const void *data, u32 bytes)
{
    u16 length = bytes + 4;
    u8 *at = put(length);
    memcpy(at, &length, 2), memcpy(at + 2, &type, 2);
    memcpy(at + 4, data, bytes);
}

static void number(u16 type, u32 value)
{
    u8 bytes[4];
    put32(bytes, value);
    attribute(type, bytes, 4);
}

static void text(u16 type, const char *value)
{
    u32 length = 0;
    while (value[length])
        length++;
    attribute(type, value, length + 1);
}

static void measure(u32 nest)
{
    u16 length = size - nest;
    memcpy(batch + nest, &length, 2);
}

static void open(u16 type)
{
    nests[depth++] = size;
    attribute(type | NESTED, 0, 0);
}

static void shut(void)
{
    measure(nests[--depth]);
}

static void value(u16 type, const void *data, u32 bytes)
{
    open(type), attribute(1, data, bytes), shut();
}

static long send(void)
{
    static u8 got[8192] __attribute__((aligned(8)));
    int answered = 0;
    put_head(BATCH_END, 0);
    long result = SYS(SENDTO, nat_fd, batch, size, 0, 0, 0);
    size = 0, list_type = 0;
    for (result = result < 0 ? result : 0;;) {
        long read = SYS(RECVFROM, nat_fd, got, sizeof got, 0x40, 0, 0);
        if (read <= 0)
            return result ? result : read < 0 && read != -AGAIN ? read : answered ? 0 : -AGAIN;
        for (long at = 0; at + 20 <= read;) {
            struct head *h = (void *)(got + at);
            int error;
            memcpy(&error, got + at + 16, 4);
            if (h->length < 20)
                break;
            if (h->type == ERROR)
                answered = 1, result = result ? result : error;
            at += (h->length + 3) & ~3;
        }
    }
}

static void make_room(u32 bytes)
{
    if (size + bytes > BATCH - 64) {
        long result = send();
        broken = broken ? broken : result;
    }
}

/* --- the table ---------------------------------------------------------------------------- */

static void start_rule(const char *chain)
{
    make_room(MOST_RULE);
    start(NEW_RULE, CREATE | APPEND);
    text(1, table), text(2, chain), open(4);
}

static void start_expression(const char *name)
{
    open(1), text(1, name), open(2);
}

static void end_expression(void)
{
    shut(), shut();
}

static void load(u32 into, u32 header, u32 offset, u32 bytes)
{
    start_expression("payload");
    number(1, into), number(2, header), number(3, offset), number(4, bytes);
    end_expression();
}

static void compare(const void *data, u32 bytes)
{
    start_expression("cmp");
    number(1, REGISTER), number(2, 0), value(3, data, bytes);
    end_expression();
}

static void match_tcp(void)
{
    start_expression("meta"), number(1, REGISTER), number(2, L4_PROTOCOL), end_expression();
    compare(&(u8){TCP}, 1);
}

static void match_range(u32 ip, u32 length)
{
    u8 mask[4], wanted[4];
    put32(mask, mask_of(length)), put32(wanted, ip);
    load(REGISTER, NETWORK_HEADER, 16, 4);
    start_expression("bitwise");
    number(1, REGISTER), number(2, REGISTER), number(3, 4);
    value(4, mask, 4), value(5, "\0\0\0", 4);
    end_expression();
    compare(wanted, 4);
}

static void jump(const char *chain)
{
    start_expression("immediate");
    number(1, 0), open(2), open(2), number(1, JUMP), text(2, chain), shut(), shut();
    end_expression();
}

/* tcp, ip daddr . tcp dport @services redirect to :PORT */
static void put_redirect(void)
{
    u8 port[2];
    put16(port, peer_port);
    start_rule(services);
    match_tcp();
    load(REGISTER, NETWORK_HEADER, 16, 4), load(NEXT_REGISTER, TRANSPORT_HEADER, 2, 2);
    start_expression("lookup"), text(1, services), number(2, REGISTER), end_expression();
    start_expression("immediate"), number(1, REGISTER), value(2, port, 2), end_expression();
    start_expression("redir");
    number(1, REGISTER), number(2, REGISTER), number(3, GIVEN_PORT);
    end_expression();
    shut();
}

/* ip daddr in the range, dnat to ip daddr: what is translated once is left alone after that. */
static void put_range(u32 ip, u32 length)
{
    start_rule(services);
    match_range(ip, length);
    load(REGISTER, NETWORK_HEADER, 16, 4);
    start_expression("nat");
    number(1, DESTINATION), number(2, 2), number(3, REGISTER), number(4, REGISTER);
    end_expression();
    shut();
}

static void put_refusal(u32 ip, u32 length)
{
    start_rule(input);
    match_range(ip, length);
    jump(refused);
    shut();
}

static void empty(const char *chain)
{
    start(DELETE_RULE, 0);
    text(1, table), text(2, chain);
}

static void put_rules(void)
{
    make_room(BATCH / 2);
    empty(services);
    put_redirect();
    each_range(put_range);
    if (!refusing)
        return;
    make_room(BATCH / 2);
    empty(input);
    each_range(put_refusal);
}

static void put_chain(const char *name)
{
    start(NEW_CHAIN, CREATE);
    text(1, table), text(3, name);
}

static void put_hook(const char *name, const char *type, u32 hook, u32 priority)
{
    put_chain(name);
    open(4), number(1, hook), number(2, priority), shut();
    text(7, type);
}

static void put_translation(const char *name, u32 hook)
{
    put_hook(name, "nat", hook, BEFORE_DOCKER);
    start_rule(name);
    jump(services);
    shut();
}

static long make_table(u32 flags)
{
    start(NEW_TABLE, CREATE | EXCLUSIVE);
    text(1, table), number(2, flags);
    start(NEW_SET, CREATE);
    text(1, table), text(2, services), number(4, ADDRESS_AND_PORT), number(5, 8), number(10, 1);
    put_chain(services);
    put_translation("prerouting", PREROUTING), put_translation("output", OUTGOING);
    put_redirect();
    return send();
}

/* Only what begins: a service's address is also that of this host's own clients of it. A kernel
 * without this serves all the same. */
static int make_refusals(void)
{
    put_hook(input, "filter", INCOMING, 0);
    put_chain(refused);
    start_rule(refused);
    match_tcp();
    start_expression("ct"), number(1, REGISTER), number(2, 0), end_expression();
    compare(&(u32){NEW_CONNECTION}, 4);
    start_expression("reject"), number(1, RESET), end_expression();
    shut();
    return !send();
}

static void delete_table(void)
{
    size = 0, broken = 0;
    start(DELETE_TABLE, 0);
    text(1, table);
    send();
}

static long make(void)
{
    delete_table();
    long result = make_table(OWNED);
    if (result)
        result = make_table(0);
    if (!result)
        refusing = make_refusals(), ranges_changed = 1;
    return result;
}

/* --- what is served ----------------------------------------------------------------------- */

static void put_element(u16 type, u32 ip, u32 port)
{
    u8 element[8] = {0};
    make_room(MOST_RULE);
    if (list_type != type || size - list > MOST_LIST) {
        start(type, type == NEW_ELEMENT ? CREATE : 0);
        text(1, table), text(2, services);
        list = size, list_type = type;
        attribute(3 | NESTED, 0, 0);
    }
    put32(element, ip), put16(element + 4, port);
    open(1), value(1, element, 8), shut();
    measure(list);
}

void catch(u32 ip, u32 port)
{
    if (natting)
        put_element(NEW_ELEMENT, ip, port);
}

void let_go(u32 ip, u32 port)
{
    if (natting)
        put_element(DELETE_ELEMENT, ip, port);
}

static void give_up(long result)
{
    natting = 0;
    if (nat_fd >= 0)
        delete_table(), SYS(CLOSE, nat_fd);
    nat_fd = -1;
    tell_nat(-result);
}

/* Somebody has removed the table, or worse. */
static void make_anew(void)
{
    long result = make();
    if (!result)
        ranges_changed = 0, put_rules(), catch_all(), result = send();
    result = broken ? broken : result;
    if (result)
        give_up(result), move_listeners();
}

void settle_nat(void)
{
    if (!natting)
        return;
    if (ranges_changed)
        ranges_changed = 0, put_rules(), move_listeners();
    if (size) {
        long result = send();
        broken = broken ? broken : result;
    }
    if (broken)
        make_anew();
}

void start_nat(void)
{
    static int tried;
    int on = 1;
    if (tried++)
        return;
    u32 at = sizeof "ironfree-" - 1, divisor = 10000;
    while (divisor > peer_port)
        divisor /= 10;
    for (; divisor; divisor /= 10)
        table[at++] = '0' + peer_port / divisor % 10;
    nat_fd = SYS(SOCKET, 16, 3 | 02000000, 12);
    if (nat_fd >= 0)
        SYS(SETSOCKOPT, nat_fd, 270, 10, &on, 4);
    long result = nat_fd < 0 ? nat_fd : make();
    if (result)
        give_up(result);
    else
        natting = 1;
}

void end_nat(void)
{
    if (natting)
        delete_table();
}
