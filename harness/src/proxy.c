#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "diag.h"
#include "relay.h"
#include "steer.h"

#define OTHERS_MAX 64 /* ports that nobody published, but that are told: the user may have meant one of them */
#define LISTENERS_MAX 1024
#define SCAN_EAGER_MS 100
#define SCAN_CALM_MS 1000
#define EAGER_FOR_MS (10 * 60 * 1000)
#define SETTLE_MS 150 /* an app that binds the loopback may bind the machine's address next; it goes first */

struct port {
  uint16_t number;
  bool udp, published, reported;
  uint8_t seen;       /* enum listen_at, of the scan at hand */
  int64_t since;      /* when it was first seen on the loopback alone; 0: it is not */
  int listener;       /* ours; -1 */
  bool steered, v6;
};

struct proxy {
  uint8_t address[4];
  struct port *ports;
  size_t count, size;
  int netlink, watch, reports, listeners;
  bool scanning_udp, all_served, changed, can_steer;
  struct steer steer;
  struct relays *relays;
  struct udp_peers *peers;
};

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static struct port *find(struct proxy *proxy, uint16_t number, bool udp) {
  for (size_t i = 0; i < proxy->count; i++)
    if (proxy->ports[i].number == number && proxy->ports[i].udp == udp) return &proxy->ports[i];
  return NULL;
}

static void seen(void *context, uint16_t number, uint8_t family, const uint32_t source[4], bool v6_only) {
  struct proxy *proxy = context;
  if (family == AF_INET && source[0] == htonl(STEER_ADDRESS)) return;
  uint8_t at = diag_classify(family, source, v6_only, proxy->address);
  struct port *port = find(proxy, number, proxy->scanning_udp);
  /* Unpublished UDP sockets come and go with every DNS query: of no interest. */
  if (port == NULL && at != 0 && !proxy->scanning_udp && proxy->count < proxy->size) {
    port = &proxy->ports[proxy->count++];
    *port = (struct port){.number = number, .listener = -1};
  }
  if (port == NULL) return;
  /* What listens on the machine's address while our own socket is there is our own socket. */
  bool ours = port->listener >= 0 && family == AF_INET && memcmp(source, proxy->address, 4) == 0;
  if (!ours) port->seen |= at;
}

static void stop_listening(struct proxy *proxy, struct port *port) {
  if (port->steered) steer_set(&proxy->steer, port->number, false);
  port->steered = false;
  if (port->listener < 0) return;
  if (port->udp) udp_forget(proxy->peers, port->listener);
  close(port->listener);
  port->listener = -1;
  port->since = 0;
  proxy->listeners--;
}

static void start_listening(struct proxy *proxy, struct port *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port->number)};
  int one = 1;
  memcpy(&address.sin_addr, proxy->address, 4);
  port->v6 = (port->seen & LISTEN_V4_LOOPBACK) == 0;
  if (!port->udp && proxy->can_steer && steer_set(&proxy->steer, port->number, true)) {
    port->steered = true;
    return;
  }
  if (proxy->listeners == LISTENERS_MAX) return;
  int fd = socket(AF_INET, (port->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (!port->udp) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  /* Somebody may have been quicker; the next scan sees it. */
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || (!port->udp && listen(fd, 128) < 0)) {
    close(fd);
    return;
  }
  port->listener = fd;
  proxy->listeners++;
}

static int report(struct proxy *proxy, struct port *port, bool listening) {
  if (port->reported == listening) return 0;
  port->reported = listening;
  struct port_report message = {.port = port->number, .udp = port->udp, .listening = listening};
  return write(proxy->reports, &message, sizeof message) == (ssize_t)sizeof message ? 0 : -1;
}

static int settle(struct proxy *proxy, struct port *port) {
  bool reachable = (port->seen & LISTEN_REACHABLE) != 0;
  bool loopback = (port->seen & (LISTEN_V4_LOOPBACK | LISTEN_V6_LOOPBACK)) != 0;
  if (!port->published) return report(proxy, port, reachable || loopback);
  if (reachable || !loopback) {
    stop_listening(proxy, port);
    port->since = 0;
  } else if (port->listener < 0 && !port->steered) {
    if (port->since == 0) port->since = now();
    /* Steering is in nobody's way, so there is nothing to wait for. */
    if (now() - port->since >= SETTLE_MS || (proxy->can_steer && !port->udp)) start_listening(proxy, port);
  } else {
    port->v6 = (port->seen & LISTEN_V4_LOOPBACK) == 0;
  }
  bool served = reachable || port->listener >= 0 || port->steered;
  if (!served) proxy->all_served = false;
  return report(proxy, port, served);
}

static int scan(struct proxy *proxy) {
  bool any_udp = false;
  for (size_t i = 0; i < proxy->count; i++) {
    proxy->ports[i].seen = 0;
    any_udp |= proxy->ports[i].udp;
  }
  proxy->all_served = true;
  proxy->scanning_udp = false;
  if (diag_listeners(proxy->netlink, false, seen, proxy) < 0) return -1;
  proxy->scanning_udp = true;
  if (any_udp && diag_listeners(proxy->netlink, true, seen, proxy) < 0) return -1;
  for (size_t i = 0; i < proxy->count; i++)
    if (settle(proxy, &proxy->ports[i]) < 0) return -1;
  /* Unpublished ports that are gone make room for others. */
  for (size_t i = proxy->count; i-- > 0;)
    if (!proxy->ports[i].published && !proxy->ports[i].reported) proxy->ports[i] = proxy->ports[--proxy->count];
  return 0;
}

/* The app may be about to bind the port anew, on all addresses: ours must be out of its way. */
static void gone(void *context, uint16_t number) {
  struct proxy *proxy = context;
  for (int udp = 0; udp < 2; udp++) {
    struct port *port = find(proxy, number, udp != 0);
    if (port == NULL || port->steered) continue;
    stop_listening(proxy, port);
    proxy->changed = true;
  }
}

static void serve_listeners(struct proxy *proxy, const struct pollfd *polls, struct port *const *owners, int count) {
  for (int i = 0; i < count; i++) {
    struct port *port = owners[i];
    if (polls[i].revents == 0 || port->listener != polls[i].fd) continue;
    if (port->udp) udp_receive(proxy->peers, port->listener, port->v6, port->number);
    else {
      int client = accept4(port->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (client >= 0) relay_add(proxy->relays, client, port->v6, port->number);
    }
  }
}

static void serve_steered(struct proxy *proxy) {
  uint16_t number;
  for (int client; !relays_full(proxy->relays) && (client = steer_accept(&proxy->steer, &number)) >= 0;) {
    const struct port *port = find(proxy, number, false);
    if (port != NULL) relay_add(proxy->relays, client, port->v6, number);
    else close(client);
  }
}

enum { POLL_WATCH, POLL_REPORTS, POLL_STEERED, POLL_FIRST_LISTENER };

static int loop(struct proxy *proxy) {
  static struct pollfd polls[POLL_FIRST_LISTENER + LISTENERS_MAX + RELAYS_MAX * 2 + UDP_PEERS_MAX];
  static struct port *owners[LISTENERS_MAX];
  int64_t started = now(), next = started;
  for (;;) {
    if (now() >= next) {
      if (scan(proxy) < 0) return -1;
      next = now() + (!proxy->all_served && now() - started < EAGER_FOR_MS ? SCAN_EAGER_MS : SCAN_CALM_MS);
    }
    int count = POLL_FIRST_LISTENER, listening = 0;
    polls[POLL_WATCH] = (struct pollfd){.fd = proxy->watch, .events = POLLIN};
    polls[POLL_REPORTS] = (struct pollfd){.fd = proxy->reports};
    polls[POLL_STEERED] = (struct pollfd){
        .fd = proxy->can_steer && !relays_full(proxy->relays) ? proxy->steer.listener : -1, .events = POLLIN};
    for (size_t i = 0; i < proxy->count; i++) {
      struct port *port = &proxy->ports[i];
      if (port->listener < 0 || (!port->udp && relays_full(proxy->relays))) continue;
      owners[listening++] = port;
      polls[count++] = (struct pollfd){.fd = port->listener, .events = POLLIN};
    }
    int relays = relays_poll(proxy->relays, polls + count);
    int peers = udp_poll(proxy->peers, polls + count + relays);
    int64_t wait = next - now();
    if (poll(polls, (nfds_t)(count + relays + peers), wait > 0 ? (int)wait : 0) < 0 && errno != EINTR) return -1;
    if (polls[POLL_REPORTS].revents != 0) return 0;
    udp_serve(proxy->peers, polls + count + relays, peers);
    relays_serve(proxy->relays, polls + count, relays);
    serve_listeners(proxy, polls + POLL_FIRST_LISTENER, owners, listening);
    if (polls[POLL_STEERED].revents != 0) serve_steered(proxy);
    if (polls[POLL_WATCH].revents != 0) {
      /* Every connection that ends is told too; only listeners are worth a look. */
      proxy->changed = false;
      diag_gone(proxy->watch, gone, proxy);
      if (proxy->changed) next = now();
    }
  }
}

void proxy_run(const uint8_t address[4], const struct port_spec *ports, size_t count, int reports, bool steer,
               void (*ready)(void)) {
  struct proxy proxy = {.reports = reports, .size = count + OTHERS_MAX};
  memcpy(proxy.address, address, 4);
  proxy.ports = calloc(proxy.size, sizeof *proxy.ports);
  proxy.relays = relays_open();
  proxy.peers = udp_open();
  proxy.can_steer = steer && steer_open(&proxy.steer, address);
  if (ready != NULL) ready();
  proxy.netlink = diag_open(false);
  proxy.watch = diag_open(true);
  if (proxy.ports == NULL || proxy.relays == NULL || proxy.peers == NULL || proxy.netlink < 0 || proxy.watch < 0) return;
  for (size_t i = 0; i < count; i++) {
    if (find(&proxy, ports[i].port, ports[i].udp) != NULL) continue;
    proxy.ports[proxy.count++] =
        (struct port){.number = ports[i].port, .udp = ports[i].udp, .published = true, .listener = -1};
  }
  loop(&proxy);
}
