/* Tables without a C library: pages are asked for as a table grows, and what is given back is
 * taken first, so that memory touched follows use. An index of 0 is no item.
 */

#include "network.h"

void *memcpy(void *to, const void *from, u64 size)
{
#if defined(__x86_64__)
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return start;
#else
    u8 *out = to;
    const u8 *in = from;
    while (size--)
        *out++ = *in++;
    return to;
#endif
}

void *memmove(void *to, const void *from, u64 size)
{
    u8 *out = to;
    const u8 *in = from;
    if (out <= in || out >= in + size)
        return memcpy(to, from, size);
    while (size--)
        out[size] = in[size];
    return to;
}

void *memset(void *at, int value, u64 size)
{
    for (u8 *out = at; size; size--)
        *out++ = value;
    return at;
}

int memcmp(const void *a, const void *b, u64 size)
{
    const u8 *x = a, *y = b;
    for (; size; size--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

void *item(struct pool *pool, u32 index)
{
    u32 within = index & ((1u << pool->shift) - 1);
    return pool->chunks[index >> pool->shift] + (u64)within * pool->size;
}

u32 take(struct pool *pool)
{
    u32 index = pool->free;
    if (index) {
        pool->free = ((struct item *)item(pool, index))->next;
    } else {
        if (pool->top >= pool->limit)
            return 0;
        index = pool->top + 1;
        u8 **chunk = &pool->chunks[index >> pool->shift];
        if (!*chunk) {
            long got = SYS(MMAP, 0, (u64)pool->size << pool->shift, 3, 0x4022, -1, 0);
            if (got < 0 && got > -4096)
                return 0;
            *chunk = (u8 *)got;
        }
        pool->top = index;
    }
    struct item *taken = item(pool, index);
    memset(taken, 0, pool->clear);
    taken->used = 1, pool->count++;
    return index;
}

void give(struct pool *pool, u32 index)
{
    struct item *given = item(pool, index);
    given->used = 0, given->next = pool->free;
    pool->free = index, pool->count--;
}

/* --- slabs: what has no fixed size -------------------------------------------------------- */

enum { CLASSES = 15, CHUNKS = 4096 };
static struct pool slabs[CLASSES];
static u8 *slab_chunks[CLASSES][CHUNKS];

int slab_take(struct slab *slab, u32 bytes)
{
    slab->class = 0;
    while ((8u << slab->class) < bytes)
        slab->class++;
    struct pool *pool = &slabs[slab->class];
    pool->size = (8u << slab->class) + 8, pool->clear = 8;
    pool->shift = 14 - slab->class, pool->limit = (CHUNKS << pool->shift) - 1;
    pool->chunks = slab_chunks[slab->class];
    slab->at = take(pool);
    return slab->at != 0;
}

void slab_give(struct slab *slab)
{
    if (slab->at)
        give(&slabs[slab->class], slab->at);
    slab->at = 0;
}

void *slab_data(struct slab *slab)
{
    return (u8 *)item(&slabs[slab->class], slab->at) + 8;
}

/* --- numbers ------------------------------------------------------------------------------ */

u64 mix(u64 value)
{
    value = (value ^ value >> 32) * 0x9e3779b97f4a7c15;
    value = (value ^ value >> 29) * 0x9e3779b97f4a7c15;
    return value ^ value >> 32;
}

u32 hash_bytes(const u8 *at, u32 size)
{
    u64 hash = size;
    for (; size; size--)
        hash = (hash ^ *at++) * 0x100000001b3;
    return mix(hash);
}

u64 any_number(void)
{
    static u64 numbers[32];
    static u32 left;
    if (!left) {
        if (SYS(GETRANDOM, numbers, sizeof numbers, 0) != sizeof numbers)
            numbers[0] = mix(numbers[0] + now);
        left = 32;
    }
    return numbers[--left];
}

u32 get16(const u8 *at)
{
    return at[0] << 8 | at[1];
}

void put16(u8 *at, u32 value)
{
    at[0] = value >> 8, at[1] = value;
}

void put32(u8 *at, u32 value)
{
    put16(at, value >> 16), put16(at + 2, value);
}
