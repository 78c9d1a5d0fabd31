/* Queries: answered from what is known, or asked of the host's own name servers.
 *
 * A datagram is asked on from a socket of its own, so that its port cannot be guessed, with an
 * id of its own; the next server is tried after two seconds. A connection becomes one to a name
 * server when the first query comes that is to be asked on; until then it waits while the meaning
 * of an alias is asked for with datagrams.
 */

#include "network.h"

enum { SERVERS = 8, MOST_ASKED = 4096, LONGEST = 4096, LARGE = 1232, NAME_SERVER = 53 };
enum { NEXT_TIME = 2000, GIVE_UP_TIME = 5000, IDLE_TIME = 30000, SERVER_FAILURE = 2 };

struct asked {
    u32 next, used, listener, connection, serial, tries, size, question_end, limit, edns;
    u16 id;
    u8 alias;
    int fd, events;
    u64 next_time, give_up;
    u8 client[16], message[LARGE];
};
POOL(asked, sizeof(struct asked), sizeof(struct asked) - LARGE, 6, MOST_ASKED);
static u32 servers[SERVERS], servers_count;
static u8 got[65536], out[65536];

/* --- name servers ------------------------------------------------------------------------- */

static void read_server(char *line)
{
    static const char word[] = "nameserver";
    char *end;
    u32 ip;
    if (memcmp(line, word, 10) || (line[10] != ' ' && line[10] != '\t'))
        return;
    for (line += 10; *line == ' ' || *line == '\t'; line++)
        ;
    for (end = line; *end > ' '; end++)
        ;
    *end = 0;
    if (parse_address(line, &ip) && servers_count < SERVERS)
        servers[servers_count++] = ip;
}

static void read_servers(void)
{
    static u64 known[32], about[32];
    static char text[8192 + 16];
    long fd = SYS(OPENAT, -100, "/etc/resolv.conf", 02000000, 0), size;
    /* The inode, the size, and when it was modified. */
    if (fd < 0 || SYS(STATX, fd, "", 0x1000, 0x7ff, about)
        || (about[4] == known[4] && about[5] == known[5] && about[14] == known[14]
            && about[15] == known[15])) {
        if (fd >= 0)
            SYS(CLOSE, fd);
        return;
    }
    memcpy(known, about, sizeof known);
    size = SYS(READ, fd, text, 8192);
    SYS(CLOSE, fd);
    servers_count = 0;
    text[size < 0 ? 0 : size] = 0;
    for (char *line = text, *next; *line; line = next) {
        for (next = line; *next && *next != '\n'; next++)
            ;
        if (*next)
            *next++ = 0;
        read_server(line);
    }
}

/* The server for this try. One that is us would ask without an end. */
int upstream(u32 tries, u32 *ip)
{
    read_servers();
    for (u32 i = 0; i < servers_count; i++)
        if (!is_resolver(servers[i], NAME_SERVER) && !tries--) {
            *ip = servers[i];
            return 1;
        }
    return 0;
}

/* Whether the host asks for names there; what leads there to us would leave it without any. */
int asks_in(u32 ip, u32 length)
{
    read_servers();
    for (u32 i = 0; i < servers_count; i++)
        if (!((servers[i] ^ ip) & mask_of(length)) && !is_resolver(servers[i], NAME_SERVER))
            return 1;
    return 0;
}

static u32 usable_servers(void)
{
    u32 count = 0, ip;
    while (upstream(count, &ip))
        count++;
    return count;
}

/* --- datagrams ---------------------------------------------------------------------------- */

/* It goes on from the loop: more queries may be waiting in it, more than calls may be nested. */
static void answer_connection(struct asked *a, const u8 *at, u32 size)
{
    struct connection *c = connection(a->connection);
    struct side *near = &c->side[0];
    if (!c->used || c->state != ASKING_ON || c->start != a->serial)
        return;
    if (!reserve(near)) {
        drop(a->connection, 1);
        return;
    }
    put16(pending(near), size), memcpy(pending(near) + 2, at, size);
    near->size = size + 2, c->state = ASKING;
    set_deadline(c, now + IDLE_TIME);
    watch_side(a->connection, 0, OUTPUT);
}

static void reply(struct asked *a, const u8 *at, u32 size)
{
    if (a->connection) {
        answer_connection(a, at, size);
        return;
    }
    struct listener *l = item(&listeners, a->listener);
    if (l->used && l->serial == a->serial && l->fd >= 0)
        SYS(SENDTO, l->fd, at, size, QUIET, a->client, 16);
}

static void end(u32 index)
{
    struct asked *a = item(&asked, index);
    if (a->fd >= 0)
        SYS(CLOSE, a->fd);
    a->fd = -1;
    give(&asked, index);
    waiting--;
}

static void fail(u32 index)
{
    struct asked *a = item(&asked, index);
    struct query q = {.at = a->message, .question_end = a->question_end, .edns = a->edns};
    put16(a->message, a->id);
    reply(a, out, answer_code(&q, out, SERVER_FAILURE));
    end(index);
}

/* The message to send: what came, or the question for what its answer, in `out`, ends with. */
static const u8 *question_of(struct asked *a, struct query *q, u32 *size, u32 *question_end)
{
    static u8 question[LARGE];
    *size = a->size, *question_end = a->question_end;
    if (!a->alias)
        return a->message;
    if (answer_query(a->message, a->size, out, a->limit, q) != ALIAS_ELSEWHERE)
        return 0;
    *size = ask_alias(q, out, question), *question_end = *size - (a->edns ? OPT_SIZE : 0);
    memcpy(question, a->message, 2);
    return question;
}

/* What is known has changed since it was asked. */
static void answer_anew(u32 index)
{
    struct asked *a = item(&asked, index);
    struct query q;
    int answer = answer_query(a->message, a->size, out, a->limit, &q);
    if (answer <= 0)
        answer = answer_code(&q, out, SERVER_FAILURE);
    put16(out, a->id);
    reply(a, out, answer);
    end(index);
}

static void ask_next(u32 index)
{
    struct asked *a = item(&asked, index);
    struct query q;
    u32 count = usable_servers(), most = count && count < 3 ? 3 : count, ip, size, question_end;
    while (a->tries < most) {
        upstream(a->tries++ % count, &ip);
        if (a->fd >= 0)
            SYS(CLOSE, a->fd);
        a->fd = address_socket(DATAGRAM, ip, NAME_SERVER, 0), a->events = 0;
        put16(a->message, any_number());
        const u8 *question = question_of(a, &q, &size, &question_end);
        if (!question) {
            answer_anew(index);
            return;
        }
        if (a->fd < 0 || SYS(SENDTO, a->fd, question, size, QUIET, 0, 0) != size)
            continue;
        watch(a->fd, &a->events, INPUT, QUERY, index);
        a->next_time = now + NEXT_TIME;
        return;
    }
    fail(index);
}

static u32 new_asked(struct query *q, int answer)
{
    u32 index = q->size <= LARGE ? take(&asked) : 0;
    if (!index)
        return 0;
    struct asked *a = item(&asked, index);
    waiting++;
    a->fd = -1, a->id = get16(q->at), a->alias = answer == ALIAS_ELSEWHERE;
    a->size = q->size, a->question_end = q->question_end, a->limit = q->limit, a->edns = q->edns;
    a->give_up = now + GIVE_UP_TIME;
    memcpy(a->message, q->at, q->size);
    return index;
}

static void ask(u32 from, const u8 *client, struct query *q, int answer)
{
    struct listener *l = item(&listeners, from);
    u32 index = new_asked(q, answer);
    if (!index) {
        SYS(SENDTO, l->fd, out, answer_code(q, out, SERVER_FAILURE), QUIET, client, 16);
        return;
    }
    struct asked *a = item(&asked, index);
    a->listener = from, a->serial = l->serial, memcpy(a->client, client, 16);
    ask_next(index);
}

void take_queries(u32 from)
{
    struct listener *l = item(&listeners, from);
    struct query q;
    u8 client[16];
    for (int i = 0; i < 64; i++) {
        int where_size = 16;
        long size = SYS(RECVFROM, l->fd, got, LONGEST, 0x40, client, &where_size);
        if (size < 0)
            return;
        int answer = answer_query(got, size, out, 0, &q);
        if (answer > 0)
            SYS(SENDTO, l->fd, out, answer, QUIET, client, 16);
        else if (answer != SILENCE)
            ask(from, client, &q, answer);
    }
}

static int lower(int byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;
}

static int answers(const u8 *question, u32 end, const u8 *at, long size)
{
    if (size < end || get16(at) != get16(question) || !(at[2] & 0x80) || get16(at + 4) != 1)
        return 0;
    for (u32 i = 12; i < end; i++)
        if (lower(at[i]) != lower(question[i]))
            return 0;
    return 1;
}

void take_answer(u32 index)
{
    struct asked *a = item(&asked, index);
    if (!a->used || a->fd < 0)
        return;
    long size = SYS(RECVFROM, a->fd, got, sizeof got, 0x40, 0, 0);
    if (size < 0 && size != -AGAIN)
        ask_next(index);
    if (size < 0)
        return;
    struct query q;
    u32 asked_size, question_end;
    const u8 *question = question_of(a, &q, &asked_size, &question_end);
    if (!question)
        answer_anew(index);
    if (!question || !answers(question, question_end, got, size))
        return;
    int code = got[3] & 15;
    if ((code == SERVER_FAILURE || code >= 4) && a->tries < usable_servers()) {
        ask_next(index);
        return;
    }
    if (a->alias) {
        put16(out, a->id);
        reply(a, out, answer_alias(&q, out, got, size));
        end(index);
        return;
    }
    put16(got, a->id);
    if (size > a->limit)
        size = a->question_end, got[2] |= 2, memset(got + 6, 0, 6);
    reply(a, got, size);
    end(index);
}

void check_queries(void)
{
    for (u32 index = 1; asked.count && index <= asked.top; index++) {
        struct asked *a = item(&asked, index);
        if (a->used && a->give_up <= now)
            fail(index);
        else if (a->used && a->next_time <= now)
            ask_next(index);
    }
}

/* --- connections -------------------------------------------------------------------------- */

static void ask_for(u32 index, u32 asking)
{
    struct connection *c = connection(index);
    struct asked *a = item(&asked, asking);
    c->state = ASKING_ON;
    set_deadline(c, now + IDLE_TIME);
    watch_side(index, 0, 0);
    a->connection = index, a->serial = c->start, a->limit = BUFFER - 2;
    ask_next(asking);
}

static int answer_message(u32 index, struct side *near, struct side *far)
{
    struct query q;
    u8 *message = pending(far);
    u32 size = get16(message);
    if (!reserve(near))
        return SILENCE;
    int answer = answer_query(message + 2, size, pending(near) + 2, BUFFER - 2, &q);
    if (answer == ELSEWHERE) {
        release(near);
        try_next(index);
        return ELSEWHERE;
    }
    if (answer == SILENCE)
        return SILENCE;
    u32 asking = 0;
    if (answer == ALIAS_ELSEWHERE && !(asking = new_asked(&q, answer)))
        answer = answer_code(&q, pending(near) + 2, SERVER_FAILURE);
    far->size -= size + 2;
    memmove(message, message + size + 2, far->size);
    if (asking) {
        release(near);
        ask_for(index, asking);
        return answer;
    }
    put16(pending(near), answer), near->size = answer + 2;
    return flush(near) < 0 ? SILENCE : answer;
}

static long read_asked(struct side *near, struct side *far)
{
    if (!reserve(far))
        return 0;
    long size = SYS(RECVFROM, near->fd, pending(far) + far->size, BUFFER - far->size, 0x40, 0, 0);
    if (size > 0)
        far->size += size;
    return size == -AGAIN ? 1 : size;
}

void take_asked(u32 index, int events)
{
    struct connection *c = connection(index);
    struct side *near = &c->side[0], *far = &c->side[1];
    int bad = events & FAILED || (near->size && flush(near) < 0);
    if (!bad && !near->size && events & (INPUT | HUNG_UP))
        bad = read_asked(near, far) <= 0;
    while (!bad && !near->size && far->size >= 2) {
        u32 size = get16(pending(far));
        bad = size > LONGEST;
        if (bad || far->size < size + 2)
            break;
        int answer = answer_message(index, near, far);
        if (answer == ELSEWHERE || answer == ALIAS_ELSEWHERE)
            return;
        bad = answer == SILENCE;
    }
    if (bad) {
        drop(index, 0);
        return;
    }
    if (!far->size)
        release(far);
    set_deadline(c, now + IDLE_TIME);
    watch_side(index, 0, near->size ? OUTPUT : INPUT);
}
