#include "relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One direction: from `from` into the buffer, from the buffer to the other end. */
struct flow {
  uint8_t *buffer;
  size_t start, used;
  bool ended;    /* the sender has closed its half */
  bool finished; /* and that was passed on */
};

struct relay {
  int fds[2]; /* client, server */
  bool connecting;
  struct flow flows[2]; /* [i]: what comes from fds[i] */
};

struct relays {
  struct relay list[RELAYS_MAX];
  int used;
  /* Which relay and end each poll entry is about. */
  struct {
    int relay, end;
  } polled[RELAYS_MAX * 2];
};

struct relays *relays_open(void) { return calloc(1, sizeof(struct relays)); }

bool relays_full(const struct relays *relays) { return relays->used == RELAYS_MAX; }

static int loopback(bool v6, uint16_t port, int type) {
  struct sockaddr_in v4_address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 v6_address = {
      .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  int fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  int result = v6 ? connect(fd, (struct sockaddr *)&v6_address, sizeof v6_address)
                  : connect(fd, (struct sockaddr *)&v4_address, sizeof v4_address);
  if (result == 0 || errno == EINPROGRESS) return fd;
  close(fd);
  return -1;
}

/* The other side learns of a failure as a failure, not as an orderly end. */
static void reset(int fd) {
  struct linger hard = {.l_onoff = 1};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(fd);
}

void relay_add(struct relays *relays, int client, bool v6, uint16_t port) {
  int one = 1;
  int server = loopback(v6, port, SOCK_STREAM);
  uint8_t *buffers = server < 0 ? NULL : malloc(2 * RELAY_BUFFER);
  if (buffers == NULL) {
    reset(client);
    if (server >= 0) close(server);
    return;
  }
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  relays->list[relays->used++] = (struct relay){.fds = {client, server},
                                                .connecting = true,
                                                .flows = {{.buffer = buffers}, {.buffer = buffers + RELAY_BUFFER}}};
}

static void finish(struct relays *relays, int index, bool failed) {
  struct relay *relay = &relays->list[index];
  for (int end = 0; end < 2; end++) {
    if (failed) reset(relay->fds[end]);
    else close(relay->fds[end]);
  }
  free(relay->flows[0].buffer);
  *relay = relays->list[--relays->used];
}

int relays_poll(struct relays *relays, struct pollfd *polls) {
  int count = 0;
  for (int i = 0; i < relays->used; i++) {
    const struct relay *relay = &relays->list[i];
    for (int end = 0; end < 2; end++) {
      const struct flow *in = &relay->flows[end], *out = &relay->flows[1 - end];
      short events = 0;
      if (relay->connecting) events = end == 1 ? POLLOUT : 0;
      else events = (short)((!in->ended && in->used < RELAY_BUFFER ? POLLIN : 0) | (out->used > 0 ? POLLOUT : 0));
      /* With nothing to wait for, a broken connection would still wake us, again and again. */
      polls[count] = (struct pollfd){.fd = events != 0 ? relay->fds[end] : -1, .events = events};
      relays->polled[count].relay = i;
      relays->polled[count++].end = end;
    }
  }
  return count;
}

/* -1: the connection is broken. */
static int fill(int fd, struct flow *flow) {
  while (!flow->ended && flow->used < RELAY_BUFFER) {
    size_t end = (flow->start + flow->used) % RELAY_BUFFER;
    size_t room = end < flow->start ? flow->start - end : RELAY_BUFFER - end;
    ssize_t got = recv(fd, flow->buffer + end, room, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN ? 0 : -1;
    if (got == 0) flow->ended = true;
    flow->used += (size_t)got;
  }
  return 0;
}

static int empty(int fd, struct flow *flow) {
  while (flow->used > 0) {
    size_t straight = RELAY_BUFFER - flow->start;
    ssize_t sent = send(fd, flow->buffer + flow->start, flow->used < straight ? flow->used : straight, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    flow->start = (flow->start + (size_t)sent) % RELAY_BUFFER;
    flow->used -= (size_t)sent;
  }
  if (flow->ended && !flow->finished) {
    flow->finished = true;
    shutdown(fd, SHUT_WR);
  }
  return 0;
}

static int pump(struct relay *relay) {
  for (int end = 0; end < 2; end++)
    if (fill(relay->fds[end], &relay->flows[end]) < 0 || empty(relay->fds[1 - end], &relay->flows[end]) < 0) return -1;
  return 0;
}

void relays_serve(struct relays *relays, const struct pollfd *polls, int count) {
  /* Backwards: finishing one puts the last in its place, which has been served already. */
  for (int at = count - 1; at >= 0; at--) {
    if (polls[at].revents == 0) continue;
    int index = relays->polled[at].relay;
    /* Both ends of one relay are neighbours; one pass serves both. */
    if (relays->polled[at].end == 1 && at > 0) at--;
    struct relay *relay = &relays->list[index];
    int error = 0;
    socklen_t length = sizeof error;
    if (relay->connecting) getsockopt(relay->fds[1], SOL_SOCKET, SO_ERROR, &error, &length);
    relay->connecting = false;
    if (error != 0 || pump(relay) < 0) finish(relays, index, true);
    else if (relay->flows[0].finished && relay->flows[1].finished) finish(relays, index, false);
  }
}
