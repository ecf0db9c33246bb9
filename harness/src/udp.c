#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "relay.h"

#define DATAGRAM_MAX 65536
#define BURST 64 /* datagrams handled before others get their turn */

struct peer {
  int listener, upstream;
  struct sockaddr_in client;
  time_t used;
};

struct udp_peers {
  struct peer list[UDP_PEERS_MAX];
  int count;
  uint8_t datagram[DATAGRAM_MAX];
};

struct udp_peers *udp_open(void) { return calloc(1, sizeof(struct udp_peers)); }

static time_t seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

static int upstream(bool v6, uint16_t port) {
  struct sockaddr_in v4_address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 v6_address = {
      .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  int result = v6 ? connect(fd, (struct sockaddr *)&v6_address, sizeof v6_address)
                  : connect(fd, (struct sockaddr *)&v4_address, sizeof v4_address);
  if (result == 0) return fd;
  close(fd);
  return -1;
}

static void drop(struct udp_peers *peers, int index) {
  close(peers->list[index].upstream);
  peers->list[index] = peers->list[--peers->count];
}

/* The client's peer, made when it is new; the one that was silent longest makes room. */
static struct peer *peer_of(struct udp_peers *peers, int listener, const struct sockaddr_in *client, bool v6,
                            uint16_t port) {
  int oldest = 0;
  for (int i = 0; i < peers->count; i++) {
    struct peer *peer = &peers->list[i];
    if (peer->listener == listener && peer->client.sin_port == client->sin_port &&
        peer->client.sin_addr.s_addr == client->sin_addr.s_addr)
      return peer;
    if (peer->used < peers->list[oldest].used) oldest = i;
  }
  int fd = upstream(v6, port);
  if (fd < 0) return NULL;
  if (peers->count == UDP_PEERS_MAX) drop(peers, oldest);
  struct peer *peer = &peers->list[peers->count++];
  *peer = (struct peer){.listener = listener, .upstream = fd, .client = *client};
  return peer;
}

void udp_receive(struct udp_peers *peers, int listener, bool v6, uint16_t port) {
  for (int i = 0; i < BURST; i++) {
    struct sockaddr_in client;
    socklen_t length = sizeof client;
    ssize_t got = recvfrom(listener, peers->datagram, sizeof peers->datagram, MSG_DONTWAIT, (struct sockaddr *)&client, &length);
    if (got < 0) return;
    struct peer *peer = peer_of(peers, listener, &client, v6, port);
    if (peer == NULL) return;
    peer->used = seconds();
    /* Refused or no room: a datagram may be lost, as on any network. */
    ssize_t ignored = send(peer->upstream, peers->datagram, (size_t)got, MSG_NOSIGNAL);
    (void)ignored;
  }
}

int udp_poll(struct udp_peers *peers, struct pollfd *polls) {
  for (int i = 0; i < peers->count; i++)
    polls[i] = (struct pollfd){.fd = peers->list[i].upstream, .events = POLLIN};
  return peers->count;
}

void udp_serve(struct udp_peers *peers, const struct pollfd *polls, int count) {
  for (int i = count - 1; i >= 0; i--) {
    if (polls[i].revents == 0) continue;
    struct peer *peer = &peers->list[i];
    for (int burst = 0; burst < BURST; burst++) {
      ssize_t got = recv(peer->upstream, peers->datagram, sizeof peers->datagram, MSG_DONTWAIT);
      if (got < 0 && errno == ECONNREFUSED) continue;
      if (got < 0) break;
      peer->used = seconds();
      ssize_t ignored = sendto(peer->listener, peers->datagram, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT,
                               (const struct sockaddr *)&peer->client, sizeof peer->client);
      (void)ignored;
    }
  }
}

void udp_forget(struct udp_peers *peers, int listener) {
  for (int i = peers->count - 1; i >= 0; i--)
    if (peers->list[i].listener == listener) drop(peers, i);
}
