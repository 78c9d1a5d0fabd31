/* Answers to queries for names, as RFC 1035 and 6891 have them. In a zone all names are known:
 * others do not exist, and a name that is only above known ones has no records. What an alias
 * means that leads out of what is known is asked for, as those who ask do not do that themselves.
 */

#include "network.h"

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_SOA = 6, TYPE_OPT = 41, TYPE_SRV = 33, ANY = 255 };
enum { NAME_ERROR = 3, FORMAT_ERROR = 1, NOT_DONE = 4, REFUSED = 5, MOST_ALIASES = 8 };
enum { TIME_TO_LIVE = 5, SMALL = 512, LARGE = 1232 };

struct answer_space {
    u8 *out;
    u32 at, most, count, full;
};

/* --- queries ------------------------------------------------------------------------------ */

/* Behind a name, which may end in a pointer; it is not followed. */
static u32 skip_name(const u8 *message, u32 size, u32 at)
{
    while (at < size && message[at] && message[at] < 64)
        at += message[at] + 1;
    if (at >= size || (message[at] && message[at] < 192))
        return 0;
    at += message[at] ? 2 : 1;
    return at <= size ? at : 0;
}

static int read_question(struct query *q)
{
    u32 at = 12, size = 0;
    for (; at < q->size && q->at[at]; at += q->at[at] + 1) {
        u32 label = q->at[at];
        if (label > 63 || at + label + 1 >= q->size || size + label + 2 > MOST_NAME)
            return 0;
        q->name[size++] = label;
        for (u32 i = 1; i <= label; i++) {
            u8 byte = q->at[at + i];
            q->name[size++] = byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;
        }
    }
    if (at + 5 > q->size)
        return 0;
    q->name[size++] = 0, q->name_size = size;
    q->type = get16(q->at + at + 1), q->class = get16(q->at + at + 3);
    q->question_end = at + 5;
    return 1;
}

static int read_rest(struct query *q)
{
    u32 at = q->question_end, count = get16(q->at + 10);
    if (get16(q->at + 6) || get16(q->at + 8))
        return 0;
    for (; count; count--) {
        u32 start = at;
        at = skip_name(q->at, q->size, at);
        if (!at || at + 10 > q->size || at + 10 + get16(q->at + at + 8) > q->size)
            return 0;
        if (get16(q->at + at) == TYPE_OPT) {
            if (q->edns || q->at[start])
                return 0;
            u32 limit = get16(q->at + at + 2);
            q->edns = 1, q->version = q->at[at + 5];
            q->limit = limit < SMALL ? SMALL : limit > LARGE ? LARGE : limit;
        }
        at += 10 + get16(q->at + at + 8);
    }
    return at == q->size;
}

/* --- answers ------------------------------------------------------------------------------ */

static int finish(struct query *q, u8 *out, u32 at, int code)
{
    put16(out + 10, q->edns);
    if (q->edns) {
        memset(out + at, 0, OPT_SIZE);
        put16(out + at + 1, TYPE_OPT), put16(out + at + 3, LARGE);
        out[at + 5] = code >> 4, at += OPT_SIZE;
    }
    out[3] = (out[3] & 0xf0) | (code & 15);
    return at;
}

/* The query's header and question, ready to be followed by answers. */
static void start(struct query *q, u8 *out)
{
    u32 end = q->question_end ? q->question_end : 12;
    memcpy(out, q->at, end);
    out[2] = 0x80 | (q->at[2] & 0x79), out[3] = 0x80;
    memset(out + 4, 0, 8);
    out[5] = q->question_end != 0;
}

int answer_code(struct query *q, u8 *out, int code)
{
    start(q, out);
    return finish(q, out, q->question_end ? q->question_end : 12, code);
}

/* Room for a record of an owner that the answer names at `owner`, or 0. */
static u8 *add_record(struct answer_space *s, u32 owner, u32 type, u32 size)
{
    if (s->at + 12 + size > s->most) {
        s->full = 1;
        return 0;
    }
    u8 *at = s->out + s->at;
    put16(at, 0xc000 | owner), put16(at + 2, type), put16(at + 4, 1), put32(at + 6, TIME_TO_LIVE);
    put16(at + 10, size);
    s->at += 12 + size, s->count++;
    return at + 12;
}

static void add_addresses(struct answer_space *s, u32 owner, struct record *record)
{
    u32 count = record->size / 4, turn = record->turn++ % count;
    const u8 *data = slab_data(&record->data);
    for (u32 i = 0; i < count && !s->full; i++) {
        u8 *at = add_record(s, owner, TYPE_A, 4);
        if (at)
            memcpy(at, data + (turn + i) % count * 4, 4);
    }
}

static void add_services(struct answer_space *s, u32 owner, struct record *record)
{
    const u8 *data = slab_data(&record->data);
    for (u32 at = 0, size; at < record->size && !s->full; at += size) {
        size = skip_name(data, record->size, at + 2) - at;
        u8 *to = add_record(s, owner, TYPE_SRV, 4 + size);
        if (to)
            put32(to, 100), memcpy(to + 4, data + at, size);
    }
}

static int has_records(struct node *node)
{
    return node && (node->records[0] || node->records[1] || node->records[2]);
}

/* Aliases lead on; `owner` is where the answer has the name of `node`. */
static void add_known(struct answer_space *s, struct query *q, struct node *node)
{
    u32 owner = 12;
    for (int i = 0; node && i < MOST_ALIASES; i++) {
        struct record *alias = record_of(node, KIND_CNAME), *a = record_of(node, KIND_A);
        struct record *services = record_of(node, KIND_SRV);
        if (a && (q->type == TYPE_A || q->type == ANY))
            add_addresses(s, owner, a);
        if (services && (q->type == TYPE_SRV || q->type == ANY))
            add_services(s, owner, services);
        if (!alias || s->count > (u32)i)
            return;
        u8 *to = add_record(s, owner, TYPE_CNAME, alias->size);
        if (to)
            memcpy(to, slab_data(&alias->data), alias->size);
        if (!to || q->type == TYPE_CNAME)
            return;
        owner = to - s->out;
        node = owner < 0x4000 ? find_node(to, alias->size) : 0;
        u32 zone_size;
        if (owner < 0x4000 && q->type != ANY && !has_records(node)
            && !zone_of(to, alias->size, &zone_size)) {
            q->alias = owner;
            return;
        }
    }
}

/* Lets resolvers remember briefly that there is nothing. */
static void add_authority(struct answer_space *s, u32 owner)
{
    static const u32 times[] = {7200, 1800, 86400, TIME_TO_LIVE};
    static const u8 server[] = "\2ns\3dns", mailbox[] = "\12hostmaster";
    u8 *to = add_record(s, owner, TYPE_SOA, 9 + 13 + 20);
    if (!to)
        return;
    memcpy(to, server, 7), put16(to + 7, 0xc000 | owner);
    memcpy(to + 9, mailbox, 11), put16(to + 20, 0xc000 | owner);
    put32(to + 22, 1);
    for (int i = 0; i < 4; i++)
        put32(to + 26 + 4 * i, times[i]);
    s->out[9] = 1;
}

static int answer_known(struct query *q, u8 *out, u32 most)
{
    u32 zone_size = 0;
    const u8 *zone = zone_of(q->name, q->name_size, &zone_size);
    struct node *known = find_node(q->name, q->name_size);
    struct answer_space s = {out, q->question_end, most - (q->edns ? OPT_SIZE : 0), 0, 0};
    int apex = zone && zone_size == q->name_size, code = 0;
    if (!zone && !has_records(known))
        return ELSEWHERE;
    if (q->class != 1 && q->class != ANY)
        return answer_code(q, out, REFUSED);
    start(q, out);
    out[2] |= 4;
    if (known)
        add_known(&s, q, known);
    else if (!apex)
        code = NAME_ERROR;
    put16(out + 6, s.count);
    if (q->alias) {
        q->end = s.at, q->count = s.count, q->most = s.most;
        return ALIAS_ELSEWHERE;
    }
    if (s.full)
        out[2] |= 2;
    if (!s.count && zone)
        add_authority(&s, 12 + q->name_size - zone_size);
    return finish(q, out, s.at, code);
}

/* The size of an answer in `out`, which has room for `most` bytes (0: as a datagram allows). */
int answer_query(const u8 *at, u32 size, u8 *out, u32 most, struct query *q)
{
    q->at = at, q->size = size, q->limit = SMALL;
    q->question_end = q->edns = q->version = q->name_size = q->alias = 0;
    if (size < 12 || at[2] & 0x80)
        return SILENCE;
    if (at[2] & 0x78)
        return answer_code(q, out, NOT_DONE);
    if (get16(at + 4) != 1 || !read_question(q))
        return answer_code(q, out, FORMAT_ERROR);
    if (!read_rest(q)) {
        q->edns = 0;
        return answer_code(q, out, FORMAT_ERROR);
    }
    if (q->version)
        return answer_code(q, out, 16);
    return answer_known(q, out, most ? most : q->limit);
}

/* --- what others answer ------------------------------------------------------------------- */

/* What to ask for the name that the answer in `out` ends with. Its size. */
u32 ask_alias(struct query *q, const u8 *out, u8 *question)
{
    u32 at = q->alias;
    memset(question, 0, 12);
    question[2] = 1, question[5] = 1, question[11] = q->edns;
    while (out[at])
        at += out[at] + 1;
    u32 size = at + 1 - q->alias;
    u8 *to = question + 12 + size;
    memcpy(question + 12, out + q->alias, size);
    put16(to, q->type), put16(to + 2, q->class);
    if (q->edns) {
        memset(to + 4, 0, OPT_SIZE);
        put16(to + 5, TYPE_OPT), put16(to + 7, LARGE);
    }
    return 16 + size + (q->edns ? OPT_SIZE : 0);
}

/* The name there without pointers, and the place behind it, or 0. */
static u32 read_name(const u8 *message, u32 size, u32 at, u8 *name, u32 *name_size)
{
    u32 behind = 0, put = 0;
    for (u32 jumps = 0; at < size;) {
        u32 label = message[at];
        if (label >= 192) {
            if (at + 2 > size || ++jumps > MOST_NAME / 2)
                return 0;
            behind = behind ? behind : at + 2, at = get16(message + at) & 0x3fff;
            continue;
        }
        if (label > 63 || at + label + 1 > size || put + label + 1 + !!label > MOST_NAME)
            return 0;
        memcpy(name + put, message + at, label + 1);
        put += label + 1, at += label + 1;
        if (!label) {
            *name_size = put;
            return behind ? behind : at;
        }
    }
    return 0;
}

enum { NO_NAME = -1, NOT_COPIED = -2 };

/* Where the data of a type has a name, which may be compressed. */
static int name_within(u32 type)
{
    switch (type) {
    case 2: case TYPE_CNAME: case 12: case 39: return 0; /* NS, PTR, DNAME */
    case 15: return 2; /* MX */
    case TYPE_SRV: return 6;
    case TYPE_A: case 16: case 28: return NO_NAME; /* TXT, AAAA */
    default: return type > TYPE_OPT ? NO_NAME : NOT_COPIED; /* newer ones are not compressed */
    }
}

/* Adds the record there. `alias` is where the answer has the name that is to be explained. */
static u32 copy_record(struct answer_space *s, u32 *alias, const u8 *got, u32 size, u32 at)
{
    u8 owner[MOST_NAME + 1], name[MOST_NAME + 1];
    u32 owner_size, name_size = 0, start = read_name(got, size, at, owner, &owner_size);
    if (!start || start + 10 > size || start + 10 + get16(got + start + 8) > size)
        return 0;
    u32 type = get16(got + start), data = start + 10, behind = data + get16(got + start + 8);
    int within = name_within(type);
    if (within == NOT_COPIED)
        return behind;
    if (within >= 0 && read_name(got, size, data + within, name, &name_size) != behind)
        return 0;
    u32 plain = within < 0 ? behind - data : (u32)within;
    u32 known = !memcmp(s->out + *alias, owner, owner_size), head = known ? 2 : owner_size;
    if (s->at + head + 10 + plain + name_size > s->most) {
        s->full = 1;
        return 0;
    }
    u8 *to = s->out + s->at;
    if (known)
        put16(to, 0xc000 | *alias);
    else
        memcpy(to, owner, owner_size);
    to += head;
    memcpy(to, got + start, 8), put16(to + 8, plain + name_size);
    memcpy(to + 10, got + data, plain), memcpy(to + 10 + plain, name, name_size);
    s->at += head + 10 + plain + name_size, s->count++;
    if (type == TYPE_CNAME && to + 10 - s->out < 0x4000)
        *alias = to + 10 - s->out;
    return behind;
}

/* Completes the answer in `out` with what was got for its alias. It has as many records as fit:
 * one that none of them fits into is told to be cut.
 */
int answer_alias(struct query *q, u8 *out, const u8 *got, u32 size)
{
    struct answer_space s = {out, q->end, q->most, q->count, 0};
    u32 at = skip_name(got, size, 12) + 4, alias = q->alias;
    for (u32 count = get16(got + 6); count && at; count--)
        at = copy_record(&s, &alias, got, size, at);
    put16(out + 6, s.count);
    if (s.count == q->count && (s.full || got[2] & 2))
        out[2] |= 2;
    return finish(q, out, s.at, got[3] & 15);
}
