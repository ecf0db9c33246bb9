/* Who listens on which port: asked of the kernel by sock_diag(7), or read from /proc/net where it was built without inet_diag (as
 * the libkrunfw kernel is). */
#ifndef DIAG_H
#define DIAG_H
#include <stdbool.h>
#include <stdint.h>

/* Where a socket listens, as far as reaching it from the machine's own address is concerned. */
enum listen_at {
  LISTEN_V4_LOOPBACK = 1, /* 127.0.0.0/8, also as ::ffff:127.x */
  LISTEN_V6_LOOPBACK = 2, /* ::1 */
  LISTEN_REACHABLE = 4,   /* any address, or the machine's */
};

typedef void diag_visit(void *context, uint16_t port, uint8_t family, const uint32_t source[4], bool v6_only);

/* A netlink socket; -1 and errno. With `watch` it also gets a message whenever a socket goes away. */
int diag_open(bool watch);
/* Visits all listening (TCP) or unconnected bound (UDP) sockets of both families. 0, or -1 and errno. From /proc/net, sockets on ::
 * count as not v6_only, which is the default. */
int diag_listeners(int netlink, bool udp, diag_visit *visit, void *context);
/* One line of /proc/net/{tcp,udp}{,6} (Documentation/networking/proc_net_tcp.rst): false when it is of no listener. */
bool diag_parse_line(const char *line, bool udp, uint8_t family, uint16_t *port, uint32_t source[4]);
/* Drains what has come on a watching socket, visiting the local ports of listeners that are gone. */
void diag_gone(int netlink, void (*visit)(void *context, uint16_t port), void *context);
enum listen_at diag_classify(uint8_t family, const uint32_t source[4], bool v6_only, const uint8_t machine[4]);
#endif
