/* The names that are known, in the form that they have in messages and in lower case. A name
 * is a node below its parent's; a node without records or children is forgotten.
 */

#include "network.h"

enum { HEADS = 1 << 16, ZONES = 16, KINDS = 3, NODES = 1 << 18 };

struct zone {
    u32 size, generation;
    u8 name[MOST_NAME + 1];
};
POOL(nodes, sizeof(struct node), sizeof(struct node), 9, NODES);
POOL(records, sizeof(struct record), sizeof(struct record), 9, KINDS * 65536);
static u32 heads[HEADS], zones_count;
static struct zone zones[ZONES];

/* The size on the wire, with the root at its end; 0 is no name. */
int wire_name(const char *text, u8 *wire)
{
    u32 at = 0, label = 0;
    for (;; text++) {
        if (*text && *text != '.') {
            if (++label > 63 || at + label + 2 > MOST_NAME)
                return 0;
            wire[at + label] = *text >= 'A' && *text <= 'Z' ? *text + 32 : *text;
            continue;
        }
        if (!label)
            return 0;
        wire[at] = label, at += label + 1, label = 0;
        if (!*text || !text[1])
            break;
    }
    wire[at] = 0;
    return at + 1;
}

/* --- zones -------------------------------------------------------------------------------- */

void say_zone(const u8 *wire, u32 size, u32 generation)
{
    u32 i = 0;
    while (i < zones_count && (zones[i].size != size || memcmp(zones[i].name, wire, size)))
        i++;
    if (i == ZONES)
        return;
    if (i == zones_count)
        zones[i].size = size, memcpy(zones[i].name, wire, size), zones_count++;
    zones[i].generation = generation;
}

const u8 *zone_of(const u8 *wire, u32 size, u32 *zone_size)
{
    const u8 *found = 0;
    for (u32 at = 0; !found && wire[at]; at += wire[at] + 1)
        for (u32 i = 0; i < zones_count; i++)
            if (zones[i].size == size - at && !memcmp(zones[i].name, wire + at, size - at))
                found = zones[i].name, *zone_size = zones[i].size;
    return found;
}

/* --- nodes -------------------------------------------------------------------------------- */

static struct node *node(u32 index)
{
    return item(&nodes, index);
}

static u32 *find(const u8 *wire, u32 size)
{
    u32 *at = &heads[hash_bytes(wire, size) % HEADS];
    for (; *at; at = &node(*at)->chain)
        if (node(*at)->size == size && !memcmp(slab_data(&node(*at)->name), wire, size))
            break;
    return at;
}

struct node *find_node(const u8 *wire, u32 size)
{
    u32 index = *find(wire, size);
    return index ? node(index) : 0;
}

static void prune(u32 index)
{
    while (index) {
        struct node *n = node(index);
        if (n->children || n->records[0] || n->records[1] || n->records[2])
            return;
        u32 parent = n->parent;
        *find(slab_data(&n->name), n->size) = n->chain;
        slab_give(&n->name);
        give(&nodes, index);
        if (parent)
            node(parent)->children--;
        index = parent;
    }
}

static u32 add_node(const u8 *wire, u32 size)
{
    u32 child = 0, first = 0;
    for (u32 at = 0; wire[at]; at += wire[at] + 1) {
        u32 *place = find(wire + at, size - at), index = *place, known = index;
        if (!known && (index = take(&nodes))) {
            struct node *n = node(index);
            n->size = size - at;
            if (slab_take(&n->name, size - at))
                memcpy(slab_data(&n->name), wire + at, size - at), *place = index;
            else
                give(&nodes, index), index = 0;
        }
        if (!index) {
            prune(child ? first : 0);
            return 0;
        }
        if (child)
            node(child)->parent = index, node(index)->children++;
        else
            first = index;
        if (known)
            break;
        child = index;
    }
    return first;
}

/* --- records ------------------------------------------------------------------------------ */

struct record *record_of(struct node *n, enum kind kind)
{
    return n->records[kind] ? item(&records, n->records[kind]) : 0;
}

static void forget_record(u32 index)
{
    struct record *record = item(&records, index);
    u32 parent = record->node;
    node(parent)->records[record->kind] = 0;
    slab_give(&record->data);
    give(&records, index);
    prune(parent);
}

void say_name(const u8 *wire, u32 size, enum kind kind, const u8 *data, u32 bytes, u32 generation)
{
    u32 at = add_node(wire, size);
    if (!at)
        return;
    u32 index = node(at)->records[kind];
    if (!index && !(index = take(&records))) {
        prune(at);
        return;
    }
    struct record *record = item(&records, index);
    record->node = at, record->kind = kind, record->generation = generation;
    node(at)->records[kind] = index;
    if (record->size == bytes && !memcmp(slab_data(&record->data), data, bytes))
        return;
    slab_give(&record->data);
    record->size = bytes;
    if (slab_take(&record->data, bytes))
        memcpy(slab_data(&record->data), data, bytes);
    else
        forget_record(index);
}

void remove_name(const u8 *wire, u32 size, enum kind kind)
{
    struct node *known = find_node(wire, size);
    if (known && known->records[kind])
        forget_record(known->records[kind]);
}

void sweep_names(u32 generation)
{
    u32 kept = 0;
    for (u32 i = 0; i < zones_count; i++)
        if (zones[i].generation == generation)
            zones[kept++] = zones[i];
    zones_count = kept;
    for (u32 index = 1; index <= records.top; index++) {
        struct record *record = item(&records, index);
        if (record->used && record->generation != generation)
            forget_record(index);
    }
}
