/* The lines that say what there is; which ones there are, network.c tells. A line is understood
 * in full before it takes effect, since another feeder's may follow where one was cut.
 */

#include "network.h"

enum { MOST_WORDS = MOST_LINE / 2, DIGITS = 20, STATEMENTS = 2 };

static char line[MOST_LINE + 1];
static u32 line_size, generation = 1;
static int too_long;
static char stated[STATEMENTS][DIGITS + 1]; /* those that have begun, by number; "" for none */
static u32 stating;
static char *words[MOST_WORDS];
static u32 count;
static union {
    struct address addresses[MOST_LINE / 8];
    u8 bytes[MOST_LINE];
} parsed;

/* --- words -------------------------------------------------------------------------------- */

static int number(const char *text, u32 most, u32 *out)
{
    u64 value = 0;
    if (!*text)
        return 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > most)
            return 0;
        value = value * 10 + *text - '0';
    }
    *out = value;
    return value <= most;
}

int parse_address(const char *text, u32 *ip)
{
    *ip = 0;
    for (int i = 0; i < 4; i++) {
        u32 part = 0, digits = 0;
        for (; *text >= '0' && *text <= '9' && digits < 3; text++, digits++)
            part = part * 10 + *text - '0';
        if (!digits || part > 255 || *text++ != (i < 3 ? '.' : 0))
            return 0;
        *ip = *ip << 8 | part;
    }
    return 1;
}

/* Parts the text where `mark` is; what is behind it, or none. */
static char *part(char *text, char mark)
{
    while (*text && *text != mark)
        text++;
    if (!*text)
        return 0;
    *text = 0;
    return text + 1;
}

static int network_address(char *text, u32 *ip, u32 *length)
{
    char *behind = part(text, '/');
    if (!behind || !number(behind, 32, length) || !parse_address(text, ip))
        return 0;
    *ip &= mask_of(*length);
    return 1;
}

static int endpoint(char *text, struct address *out)
{
    char *behind = part(text, ':');
    u32 port;
    if (!behind || !number(behind, 65535, &port) || !port || !parse_address(text, &out->ip))
        return 0;
    out->port = port, out->unused = 0;
    return 1;
}

static int protocol_of(const char *text)
{
    return same(text, "tcp") ? TCP : same(text, "udp") ? UDP : 0;
}

static int kind_of(const char *text)
{
    static const char *const kinds[] = {"a", "srv", "cname"};
    for (int i = 0; i < 3; i++)
        if (same(text, kinds[i]))
            return i;
    return -1;
}

static int digit(char at)
{
    return at >= '0' && at <= '9' ? at - '0' : at >= 'a' && at <= 'f' ? at - 'a' + 10
         : at >= 'A' && at <= 'F' ? at - 'A' + 10 : -1;
}

/* --- what is said ------------------------------------------------------------------------- */

static void say_key(char **at)
{
    u8 said[32];
    for (int i = 0; i < 32; i++) {
        int high = digit(at[0][2 * i]), low = high < 0 ? -1 : digit(at[0][2 * i + 1]);
        if (low < 0)
            return;
        said[i] = high << 4 | low;
    }
    if (at[0][64])
        return;
    memcpy(key, said, 32);
    keyed = 1;
}

/* How many digits, if it is the number of a statement or a commit; else 0. */
static u32 digits_of(const char *text)
{
    u32 digits = 0;
    while (digit(text[digits]) >= 0 && digit(text[digits]) < 10)
        digits++;
    return digits > DIGITS || text[digits] ? 0 : digits;
}

/* What another feeder has said since it began a statement stays, so both are of one generation. */
static void reset(const char *number, u32 digits)
{
    if (!stating)
        generation++;
    if (stating == STATEMENTS)
        memmove(stated, stated + 1, --stating * sizeof *stated);
    memcpy(stated[stating], number, digits);
    stated[stating++][digits] = 0;
    tell_failures_again();
}

/* Ends a statement and those before it, whose feeders are gone or slow, if it is one. */
static void commit(const char *number)
{
    u32 i = 0;
    if (!digits_of(number))
        return;
    while (i < stating && *stated[i] && !same(stated[i], number))
        i++;
    if (i < stating) {
        sweep_ranges(generation), sweep_services(generation), sweep_names(generation);
        ranges_changed = 1; /* and the table, if somebody has removed it */
        stating -= ++i;
        memmove(stated, stated + i, stating * sizeof *stated);
    }
    settle_nat();
    tell_done(number);
}

static void say_network(char **at)
{
    u32 ip, length;
    if (!network_address(at[1], &ip, &length))
        return;
    if (same(at[0], "self"))
        say_self(ip, length, generation);
    else if (same(at[0], "range"))
        add_range(ip, length, generation);
    else if (same(at[0], "unrange"))
        remove_range(ip, length);
    else
        remove_peer(ip, length);
}

static void say_behind(char **at)
{
    u32 ip, length, host;
    if (network_address(at[1], &ip, &length) && parse_address(at[2], &host))
        say_peer(ip, length, host, generation);
}

static void say_listen(char **at, u32 left)
{
    u32 ip, port, sticky, protocol = protocol_of(at[3]);
    if (!parse_address(at[1], &ip) || !number(at[2], 65535, &port) || !port || !protocol
        || !number(at[4], 1, &sticky) || left - 5 > sizeof parsed / sizeof *parsed.addresses)
        return;
    for (u32 i = 5; i < left; i++)
        if (!endpoint(at[i], &parsed.addresses[i - 5]))
            return;
    struct listener said = {.ip = ip, .port = port, .protocol = protocol, .sticky = sticky,
                            .count = left - 5, .generation = generation};
    say_listener(&said, parsed.addresses);
}

static void unlisten(char **at)
{
    u32 ip, port, protocol = protocol_of(at[3]);
    if (protocol && parse_address(at[1], &ip) && number(at[2], 65535, &port))
        remove_listener(ip, port, protocol);
}

static void say_resolver(char **at)
{
    u32 ip, port;
    if (!parse_address(at[1], &ip) || !number(at[2], 65535, &port) || !port)
        return;
    struct listener said = {.ip = ip, .port = port, .protocol = UDP, .resolver = 1,
                            .generation = generation};
    say_listener(&said, 0);
    said.protocol = TCP;
    say_listener(&said, 0);
}

/* --- names -------------------------------------------------------------------------------- */

static void say_zone_name(char **at)
{
    u8 wire[MOST_NAME + 1];
    int size = wire_name(at[1], wire);
    if (size)
        say_zone(wire, size, generation);
}

/* The data of a record: IPs, or ports and names on the wire. Its size; 0 is malformed. */
static u32 name_data(enum kind kind, char **at, u32 left)
{
    u32 size = 0;
    for (u32 i = 0; i < left; i++) {
        u32 ip, port;
        u8 wire[MOST_NAME + 1];
        char *target = at[i];
        if (kind == KIND_A && !parse_address(at[i], &ip))
            return 0;
        if (kind == KIND_SRV) {
            target = part(at[i], ':');
            if (!target || !number(at[i], 65535, &port))
                return 0;
        }
        u32 bytes = kind == KIND_A ? 4 : wire_name(target, wire);
        if (!bytes || size + bytes + 2 > sizeof parsed.bytes)
            return 0;
        if (kind == KIND_SRV)
            put16(parsed.bytes + size, port), size += 2;
        if (kind == KIND_A)
            put32(parsed.bytes + size, ip);
        else
            memcpy(parsed.bytes + size, wire, bytes);
        size += bytes;
    }
    return kind == KIND_CNAME && left > 1 ? 0 : size;
}

static void say_named(char **at, u32 left)
{
    u8 wire[MOST_NAME + 1];
    int size = wire_name(at[1], wire), kind = kind_of(at[2]);
    if (!size || kind < 0)
        return;
    u32 bytes = name_data(kind, at + 3, left - 3);
    if (bytes)
        say_name(wire, size, kind, parsed.bytes, bytes, generation);
}

static void unname(char **at)
{
    u8 wire[MOST_NAME + 1];
    int size = wire_name(at[1], wire), kind = kind_of(at[2]);
    if (size && kind >= 0)
        remove_name(wire, size, kind);
}

/* --- lines -------------------------------------------------------------------------------- */

static void take_words(void)
{
    char *verb = words[0];
    if (count == 1 && same(verb, "reset"))
        reset("", 0);
    else if (count == 2 && same(verb, "reset") && digits_of(words[1]))
        reset(words[1], digits_of(words[1]));
    else if (count == 2 && same(verb, "commit"))
        commit(words[1]);
    else if (count == 2 && same(verb, "key"))
        say_key(words + 1);
    else if (count == 2 && same(verb, "zone"))
        say_zone_name(words);
    else if (count == 2 && (same(verb, "self") || same(verb, "range") || same(verb, "unrange")
                            || same(verb, "unpeer")))
        say_network(words);
    else if (count == 3 && same(verb, "peer"))
        say_behind(words);
    else if (count >= 5 && same(verb, "listen"))
        say_listen(words, count);
    else if (count == 4 && same(verb, "unlisten"))
        unlisten(words);
    else if (count == 3 && same(verb, "resolver"))
        say_resolver(words);
    else if (count >= 4 && same(verb, "name"))
        say_named(words, count);
    else if (count == 3 && same(verb, "unname"))
        unname(words);
}

static void take_line(void)
{
    if (line_size < 3 || line[line_size - 1] != '.' || line[line_size - 2] != ' ')
        return;
    line_size -= 2, line[line_size] = 0, count = 0;
    for (u32 i = 0, start = 1; i < line_size; i++) {
        if (line[i] <= ' ' || line[i] > '~') {
            if (line[i] != ' ' || start)
                return;
            line[i] = 0, start = 1;
        } else if (start) {
            words[count++] = line + i, start = 0;
        }
    }
    if (line[line_size - 1])
        take_words();
}

void take_input(const u8 *at, long size)
{
    for (; size; size--, at++) {
        if (*at == '\n') {
            if (!too_long)
                take_line();
            line_size = 0, too_long = 0;
        } else if (line_size == MOST_LINE) {
            too_long = 1;
        } else {
            line[line_size++] = *at;
        }
    }
}
