#include "diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STATE_UNCONNECTED 7 /* TCP_CLOSE (net/tcp_states.h): what an unconnected UDP socket is in */
#define STATE_LISTEN 10     /* TCP_LISTEN */

int diag_open(bool watch) {
  int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (watch ? SOCK_NONBLOCK : 0), NETLINK_SOCK_DIAG);
  if (netlink < 0) return -1;
  uint32_t groups = 1u << (SKNLGRP_INET_TCP_DESTROY - 1) | 1u << (SKNLGRP_INET_UDP_DESTROY - 1) |
                    1u << (SKNLGRP_INET6_TCP_DESTROY - 1) | 1u << (SKNLGRP_INET6_UDP_DESTROY - 1);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = watch ? groups : 0};
  if (bind(netlink, (struct sockaddr *)&address, sizeof address) == 0) return netlink;
  int number = errno;
  close(netlink);
  errno = number;
  return -1;
}

static bool only_v6(const struct nlmsghdr *message) {
  const struct inet_diag_msg *socket_info = NLMSG_DATA(message);
  int left = (int)message->nlmsg_len - (int)NLMSG_LENGTH(sizeof *socket_info);
  for (const struct rtattr *attr = (const struct rtattr *)(socket_info + 1); RTA_OK(attr, left); attr = RTA_NEXT(attr, left))
    if (attr->rta_type == INET_DIAG_SKV6ONLY) return *(const uint8_t *)RTA_DATA(attr) != 0;
  return false;
}

static int dump(int netlink, uint8_t family, bool udp, diag_visit *visit, void *context) {
  struct {
    struct nlmsghdr header;
    struct inet_diag_req_v2 request;
  } ask = {.header = {.nlmsg_len = sizeof ask, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
           .request = {.sdiag_family = family,
                       .sdiag_protocol = udp ? IPPROTO_UDP : IPPROTO_TCP,
                       .idiag_states = 1u << (udp ? STATE_UNCONNECTED : STATE_LISTEN)}};
  static _Alignas(struct nlmsghdr) uint8_t buffer[32768];
  if (send(netlink, &ask, sizeof ask, 0) < 0) return -1;
  for (;;) {
    ssize_t got = recv(netlink, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    unsigned left = (unsigned)got;
    for (struct nlmsghdr *message = (struct nlmsghdr *)buffer; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return 0;
      if (message->nlmsg_type == NLMSG_ERROR) {
        errno = -((struct nlmsgerr *)NLMSG_DATA(message))->error;
        return -1;
      }
      if (message->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg))) continue;
      const struct inet_diag_msg *info = NLMSG_DATA(message);
      visit(context, ntohs(info->id.idiag_sport), info->idiag_family, info->id.idiag_src, only_v6(message));
    }
  }
}

bool diag_parse_line(const char *line, bool udp, uint8_t family, uint16_t *port, uint32_t source[4]) {
  char address[33];
  unsigned number, state;
  if (sscanf(line, " %*u: %32[0-9A-F]:%x %*32[0-9A-F]:%*x %x", address, &number, &state) != 3) return false;
  if (state != (udp ? STATE_UNCONNECTED : STATE_LISTEN) || number == 0 || number > 65535) return false;
  size_t words = family == AF_INET ? 1 : 4;
  if (strlen(address) != words * 8) return false;
  memset(source, 0, 4 * sizeof *source);
  /* Each word as the machine's own integer, so in memory it is as on the wire. */
  for (size_t i = 0; i < words; i++)
    if (sscanf(address + i * 8, "%8x", &source[i]) != 1) return false;
  *port = (uint16_t)number;
  return true;
}

static int read_proc(const char *path, uint8_t family, bool udp, diag_visit *visit, void *context) {
  char line[512];
  uint32_t source[4];
  uint16_t port;
  FILE *file = fopen(path, "re");
  if (file == NULL) return errno == ENOENT && family == AF_INET6 ? 0 : -1;
  if (fgets(line, sizeof line, file) == NULL) line[0] = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    bool listens = diag_parse_line(line, udp, family, &port, source);
    if (listens) visit(context, port, family, source, false);
    /* TCP's listeners come first: the connections after them may be many. */
    else if (!udp) break;
  }
  fclose(file);
  return 0;
}

int diag_listeners(int netlink, bool udp, diag_visit *visit, void *context) {
  static bool absent;
  if (!absent && dump(netlink, AF_INET, udp, visit, context) == 0) {
    /* A kernel without IPv6 says ENOENT. */
    return dump(netlink, AF_INET6, udp, visit, context) < 0 && errno != ENOENT ? -1 : 0;
  }
  if (!absent && errno != ENOENT) return -1;
  absent = true;
  if (read_proc(udp ? "/proc/net/udp" : "/proc/net/tcp", AF_INET, udp, visit, context) < 0) return -1;
  return read_proc(udp ? "/proc/net/udp6" : "/proc/net/tcp6", AF_INET6, udp, visit, context);
}

void diag_gone(int netlink, void (*visit)(void *context, uint16_t port), void *context) {
  static _Alignas(struct nlmsghdr) uint8_t buffer[8192];
  for (;;) {
    ssize_t got = recv(netlink, buffer, sizeof buffer, MSG_DONTWAIT);
    /* ENOBUFS: some were lost; the next full look finds what they would have told. */
    if (got < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
    if (got <= 0) return;
    unsigned left = (unsigned)got;
    for (struct nlmsghdr *message = (struct nlmsghdr *)buffer; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg))) continue;
      const struct inet_diag_msg *info = NLMSG_DATA(message);
      if (info->id.idiag_dport == 0) visit(context, ntohs(info->id.idiag_sport));
    }
  }
}

enum listen_at diag_classify(uint8_t family, const uint32_t source[4], bool v6_only, const uint8_t machine[4]) {
  const uint8_t *bytes = (const uint8_t *)source;
  static const uint8_t none[16], mapped[12] = {[10] = 0xff, [11] = 0xff}, v6_loopback[16] = {[15] = 1};
  if (family == AF_INET6) {
    if (memcmp(bytes, v6_loopback, 16) == 0) return LISTEN_V6_LOOPBACK;
    if (memcmp(bytes, none, 16) == 0) return v6_only ? 0 : LISTEN_REACHABLE;
    if (memcmp(bytes, mapped, 12) != 0) return 0;
    bytes += 12;
  }
  if (memcmp(bytes, none, 4) == 0 || memcmp(bytes, machine, 4) == 0) return LISTEN_REACHABLE;
  return bytes[0] == 127 ? LISTEN_V4_LOOPBACK : 0;
}
