/* Linux's system calls without a C library. Numbers: Linux's system call tables. */

#ifndef CALLS_H
#define CALLS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, CLOSE = 3, MMAP = 9, SIGPROCMASK = 14, MADVISE = 28, SOCKET = 41,
       CONNECT = 42, SENDTO = 44, RECVFROM = 45, SENDMSG = 46, RECVMSG = 47, SHUTDOWN = 48,
       BIND = 49, LISTEN = 50, GETSOCKNAME = 51, SETSOCKOPT = 54, GETSOCKOPT = 55, STATFS = 137,
       GETDENTS = 217, CLOCK_GETTIME = 228, EXIT = 231, EPOLL_CTL = 233, OPENAT = 257,
       UNLINKAT = 263, RENAMEAT = 264, SYMLINKAT = 266, READLINKAT = 267, FACCESSAT = 269,
       PPOLL = 271, EPOLL_PWAIT = 281, ACCEPT4 = 288, SIGNALFD4 = 289, EPOLL_CREATE1 = 291,
       PRLIMIT = 302, GETRANDOM = 318, STATX = 332, DIRECTORY = 0200000, NOFOLLOW = 0400000 };
static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, CLOSE = 57, MMAP = 222, SIGPROCMASK = 135, MADVISE = 233,
       SOCKET = 198, CONNECT = 203, SENDTO = 206, RECVFROM = 207, SHUTDOWN = 210, BIND = 200,
       LISTEN = 201, GETSOCKNAME = 204, SETSOCKOPT = 208, GETSOCKOPT = 209, SENDMSG = 211,
       RECVMSG = 212, STATFS = 43, GETDENTS = 61, CLOCK_GETTIME = 113, EXIT = 94, EPOLL_CTL = 21,
       OPENAT = 56, UNLINKAT = 35, RENAMEAT = 38, SYMLINKAT = 36, READLINKAT = 78, FACCESSAT = 48,
       PPOLL = 73, EPOLL_PWAIT = 22, ACCEPT4 = 242, SIGNALFD4 = 74, EPOLL_CREATE1 = 20,
       PRLIMIT = 261, GETRANDOM = 278, STATX = 291, DIRECTORY = 040000, NOFOLLOW = 0100000 };
static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#endif

#define SYS_ALL(number, a, b, c, d, e, f, ...) \
    call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS(...) SYS_ALL(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

enum { INTERRUPTED = 4, AGAIN = 11, EXISTS = 17, IS_DIRECTORY = 21, FULL_TABLE = 23, TOO_MANY = 24,
       NO_BUFFER = 105, IS_REFUSED = 111, IN_PROGRESS = 115 };

struct pollfd {
    int fd;
    u16 events, revents;
};

void *memcpy(void *to, const void *from, u64 size);
void *memmove(void *to, const void *from, u64 size);
int same(const char *a, const char *b);
int network(const char *port);
int gateway(void);

#endif
