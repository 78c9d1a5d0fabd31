/* The guestbook: one static program, three roles (first argument). Prints a line a second.
 *
 * leader    TCP $PORT (6379). Lines: "SET key value" -> "+OK"; "GET key" -> "$value" or "-none";
 *           "DUMP" -> "key value" lines and "."; "PING" -> "+PONG".
 * follower  the same, read-only ("-READONLY"); copies $LEADER_ADDR (host:port) twice a second.
 * frontend  HTTP $PORT (8080). /healthz; /set?key=K&value=V writes to $LEADER_ADDR;
 *           /get?key=K reads from $FOLLOWER_ADDR (else the leader); / says the host's name.
 *           A back end that does not answer gives 502.
 * Values hold no spaces. TERM ends it at once with status 0.
 */
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

#define KEYS 1024
#define WORD 128

static struct { char key[WORD], value[WORD]; } table[KEYS];
static int used, requests, is_follower;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void finish(int signal_number) { _exit(0); }

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    putchar('\n');
    fflush(stdout);
    va_end(arguments);
}

static int set(const char *key, const char *value) {
    int i, ok = 1;
    pthread_mutex_lock(&lock);
    for (i = 0; i < used && strcmp(table[i].key, key); i++) {}
    if (i == KEYS) ok = 0;
    else {
        if (i == used) used++;
        snprintf(table[i].key, WORD, "%s", key);
        snprintf(table[i].value, WORD, "%s", value);
    }
    pthread_mutex_unlock(&lock);
    return ok;
}

static int get(const char *key, char *value) {
    int i;
    pthread_mutex_lock(&lock);
    for (i = 0; i < used && strcmp(table[i].key, key); i++) {}
    if (i < used) strcpy(value, table[i].value);
    int found = i < used;
    pthread_mutex_unlock(&lock);
    return found;
}

static void limit_time(int fd, int seconds) {
    struct timeval time = {seconds, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

static int dial(const char *address) {
    char host[WORD];
    if (!address) return -1;
    snprintf(host, WORD, "%s", address);
    char *colon = strrchr(host, ':');
    if (!colon) return -1;
    *colon = 0;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, colon + 1, &hints, &found)) return -1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    limit_time(fd, 2);
    if (connect(fd, found->ai_addr, found->ai_addrlen)) { close(fd); fd = -1; }
    freeaddrinfo(found);
    return fd;
}

/* One request to a leader or follower; its first answer line, or NULL. */
static char *ask(const char *address, const char *request, char *line, int size) {
    int fd = dial(address);
    if (fd < 0) return NULL;
    FILE *stream = fdopen(fd, "r+");
    fprintf(stream, "%s\n", request);
    fflush(stream);
    char *answer = fgets(line, size, stream);
    if (answer) answer[strcspn(answer, "\r\n")] = 0;
    fclose(stream);
    return answer;
}

static void serve_store(FILE *stream) {
    char line[512], key[WORD], value[WORD];
    while (fgets(line, sizeof line, stream)) {
        requests++;
        if (sscanf(line, "SET %127s %127s", key, value) == 2) {
            if (is_follower) fprintf(stream, "-READONLY\n");
            else fprintf(stream, set(key, value) ? "+OK\n" : "-FULL\n");
        } else if (sscanf(line, "GET %127s", key) == 1) {
            if (get(key, value)) fprintf(stream, "$%s\n", value);
            else fprintf(stream, "-none\n");
        } else if (!strncmp(line, "DUMP", 4)) {
            pthread_mutex_lock(&lock);
            for (int i = 0; i < used; i++) fprintf(stream, "%s %s\n", table[i].key, table[i].value);
            pthread_mutex_unlock(&lock);
            fprintf(stream, ".\n");
        } else if (!strncmp(line, "PING", 4)) fprintf(stream, "+PONG\n");
        else fprintf(stream, "-ERR\n");
        fflush(stream);
    }
}

static void serve_http(FILE *stream) {
    char line[512], rest[512], key[WORD], value[WORD], request[512], answer[512];
    const char *status = "200 OK", *body = "ok";
    if (!fgets(line, sizeof line, stream)) return;
    while (fgets(rest, sizeof rest, stream) && rest[0] != '\r' && rest[0] != '\n') {}
    requests++;
    if (sscanf(line, "GET /set?key=%127[^& ]&value=%127[^& ]", key, value) == 2) {
        snprintf(request, sizeof request, "SET %s %s", key, value);
        body = ask(getenv("LEADER_ADDR"), request, answer, sizeof answer);
    } else if (sscanf(line, "GET /get?key=%127[^& ]", key) == 1) {
        const char *from = getenv("FOLLOWER_ADDR");
        snprintf(request, sizeof request, "GET %s", key);
        body = ask(from ? from : getenv("LEADER_ADDR"), request, answer, sizeof answer);
    } else if (!strncmp(line, "GET / ", 6)) {
        gethostname(answer, sizeof answer);
        body = answer;
    } else if (strncmp(line, "GET /healthz", 12)) { status = "404 Not Found"; body = "no such page"; }
    if (!body) { status = "502 Bad Gateway"; body = "back end does not answer"; }
    fprintf(stream, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
            status, strlen(body), body);
    fflush(stream);
    say("frontend: %.*s -> %s", (int)strcspn(line, "\r\n"), line, status);
}

static void (*serve)(FILE *) = serve_store;

static void *connection(void *argument) {
    int fd = (int)(long)argument;
    limit_time(fd, 30);
    FILE *stream = fdopen(fd, "r+");
    serve(stream);
    fclose(stream);
    return NULL;
}

static void *copy_leader(void *role) {
    char line[512], key[WORD], value[WORD];
    for (;; usleep(500000)) {
        int fd = dial(getenv("LEADER_ADDR"));
        if (fd < 0) { say("follower: leader does not answer"); continue; }
        FILE *stream = fdopen(fd, "r+");
        fprintf(stream, "DUMP\n");
        fflush(stream);
        while (fgets(line, sizeof line, stream) && line[0] != '.')
            if (sscanf(line, "%127s %127s", key, value) == 2) set(key, value);
        fclose(stream);
    }
}

static void *report(void *role) {
    for (int second = 0;; second++, sleep(1))
        say("%s: %d s, %d keys, %d requests", (char *)role, second, used, requests);
}

int main(int count, char **arguments) {
    char *role = count > 1 ? arguments[1] : "leader";
    signal(SIGTERM, finish);
    signal(SIGINT, finish);
    signal(SIGPIPE, SIG_IGN);
    is_follower = !strcmp(role, "follower");
    if (!strcmp(role, "frontend")) serve = serve_http;
    const char *port = getenv("PORT");
    int number = port ? atoi(port) : serve == serve_http ? 8080 : 6379, yes = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(number)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 128)) {
        perror("listen");
        return 1;
    }
    pthread_t thread;
    pthread_create(&thread, NULL, report, role);
    if (is_follower) pthread_create(&thread, NULL, copy_leader, role);
    say("%s: listening on %d", role, number);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        if (pthread_create(&thread, NULL, connection, (void *)(long)fd)) close(fd);
        else pthread_detach(thread);
    }
}
