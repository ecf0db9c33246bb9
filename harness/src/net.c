/* The network by rtnetlink (rtnetlink(7)), so that nothing is needed from the image: lo up, eth0 with address, MTU and route. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

#define DEVICE "eth0"

struct request {
  struct nlmsghdr header;
  union {
    struct ifinfomsg link;
    struct ifaddrmsg address;
    struct rtmsg route;
  };
  uint8_t attributes[128];
};

static void attribute(struct request *request, uint16_t type, const void *value, uint16_t length) {
  struct rtattr *attr = (struct rtattr *)((uint8_t *)request + NLMSG_ALIGN(request->header.nlmsg_len));
  attr->rta_type = type;
  attr->rta_len = (uint16_t)RTA_LENGTH(length);
  memcpy(RTA_DATA(attr), value, length);
  request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attr->rta_len);
}

static int ask(int socket, struct request *request, const char *what, struct failure *failure) {
  static uint32_t sequence;
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
    uint8_t rest[512];
  } reply;
  request->header.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  request->header.nlmsg_seq = ++sequence;
  if (send(socket, request, request->header.nlmsg_len, 0) < 0) return fail(failure, errno, "%s", what);
  ssize_t length = recv(socket, &reply, sizeof reply, 0);
  if (length < (ssize_t)(sizeof reply.header + sizeof reply.error) || reply.header.nlmsg_type != NLMSG_ERROR)
    return fail(failure, length < 0 ? errno : EPROTO, "%s", what);
  /* Setting up twice (a retried boot) is no mistake. */
  int number = -reply.error.error;
  return number == 0 || number == EEXIST ? 0 : fail(failure, number, "%s", what);
}

static int link_up(int socket, const char *device, uint32_t mtu, struct failure *failure) {
  struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK}};
  request.link = (struct ifinfomsg){.ifi_index = (int)if_nametoindex(device), .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  if (request.link.ifi_index == 0) return fail(failure, errno, "find the network device %s", device);
  if (mtu > 0) attribute(&request, IFLA_MTU, &mtu, sizeof mtu);
  return ask(socket, &request, "bring a network device up", failure);
}

static int add_address(int socket, const struct boot_config *config, struct failure *failure) {
  struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
                                       .nlmsg_type = RTM_NEWADDR,
                                       .nlmsg_flags = NLM_F_CREATE}};
  request.address = (struct ifaddrmsg){
      .ifa_family = AF_INET, .ifa_prefixlen = (uint8_t)config->prefix, .ifa_index = if_nametoindex(DEVICE)};
  attribute(&request, IFA_LOCAL, config->address, 4);
  attribute(&request, IFA_ADDRESS, config->address, 4);
  return ask(socket, &request, "set the address of " DEVICE, failure);
}

static int add_route(int socket, const struct boot_config *config, struct failure *failure) {
  struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
                                       .nlmsg_type = RTM_NEWROUTE,
                                       .nlmsg_flags = NLM_F_CREATE}};
  request.route = (struct rtmsg){.rtm_family = AF_INET,
                                 .rtm_table = RT_TABLE_MAIN,
                                 .rtm_protocol = RTPROT_BOOT,
                                 .rtm_scope = RT_SCOPE_UNIVERSE,
                                 .rtm_type = RTN_UNICAST};
  attribute(&request, RTA_GATEWAY, config->gateway, 4);
  return ask(socket, &request, "set the default route", failure);
}

int net_up(const struct boot_config *config, struct failure *failure) {
  static const uint8_t none[4];
  int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (netlink < 0) return fail(failure, errno, "open a netlink socket");
  int result = link_up(netlink, "lo", 0, failure);
  if (result == 0 && config != NULL && config->has_network) {
    result = link_up(netlink, DEVICE, config->mtu, failure);
    if (result == 0) result = add_address(netlink, config, failure);
    if (result == 0 && memcmp(config->gateway, none, 4) != 0) result = add_route(netlink, config, failure);
  }
  close(netlink);
  return result;
}
