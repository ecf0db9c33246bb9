/*
 * gvproxy trusts its guest: it serves its own control API (which opens ports on the host and removes files) on the gateway's
 * port 80, maps .254 to the host's loopback, and dials whatever address a packet names. So what the guest sends is
 * judged here, by an allow list: ARP, IPv4 from its own subnet, and to the gateway no TCP connection but DNS. (What comes in by
 * a published port comes from the gateway too, from a high port; its answers carry ACK.)
 */
#include "policy.h"

enum {
	ETHERNET_HEADER = 14,
	ETHERTYPE_OFFSET = 12,
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_ARP = 0x0806,
	IPV4_HEADER_MIN = 20,
	IPV4_FRAGMENT_MASK = 0x3fff, /* more-fragments flag and offset */
	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	PORT_DNS = 53,
	PORT_DHCP = 67,
	PORT_UNPRIVILEGED = 1024,
	TCP_FLAGS_OFFSET = 13,
	TCP_ACK = 0x10,
};

#define IPV4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
static const uint32_t subnet = IPV4(192, 168, 127, 0), subnet_mask = IPV4(255, 255, 255, 0);
static const uint32_t gateway = IPV4(192, 168, 127, 1), host_alias = IPV4(192, 168, 127, 254);
static const uint32_t subnet_broadcast = IPV4(192, 168, 127, 255), broadcast = IPV4(255, 255, 255, 255);

static uint16_t u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t u32(const uint8_t *at)
{
	return IPV4(at[0], at[1], at[2], at[3]);
}

static bool source_allowed(uint32_t source)
{
	if (source == 0) /* DHCP before there is an address */
		return true;
	return (source & subnet_mask) == subnet && source != gateway && source != host_alias && source != subnet_broadcast;
}

/* `segment` is what follows the IPv4 header. */
static bool gateway_allowed(uint8_t protocol, bool fragment, const uint8_t *segment, size_t length)
{
	uint16_t port;

	/* UDP ends at the gateway's DNS, DHCP or a published port; its control API is TCP. */
	if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_UDP)
		return true;
	/* A fragment can't be judged by its port, and overlapping ones can change it afterwards. */
	if (protocol != PROTOCOL_TCP || fragment || length <= TCP_FLAGS_OFFSET)
		return false;
	port = u16(segment + 2);
	return port == PORT_DNS || (port >= PORT_UNPRIVILEGED && (segment[TCP_FLAGS_OFFSET] & TCP_ACK) != 0);
}

bool frame_allowed(const struct policy *policy, const uint8_t *frame, size_t length)
{
	const uint8_t *ip = frame + ETHERNET_HEADER;
	size_t header, total;
	uint32_t destination;
	uint8_t protocol;
	bool fragment;

	if (length < ETHERNET_HEADER)
		return false;
	if (u16(frame + ETHERTYPE_OFFSET) == ETHERTYPE_ARP)
		return true;
	if (u16(frame + ETHERTYPE_OFFSET) != ETHERTYPE_IPV4 || length < ETHERNET_HEADER + IPV4_HEADER_MIN)
		return false;
	header = (size_t)(ip[0] & 15) * 4;
	total = u16(ip + 2);
	if (ip[0] >> 4 != 4 || header < IPV4_HEADER_MIN || total < header || total > length - ETHERNET_HEADER)
		return false;
	if (!source_allowed(u32(ip + 12)))
		return false;
	protocol = ip[9];
	fragment = (u16(ip + 6) & IPV4_FRAGMENT_MASK) != 0;
	destination = u32(ip + 16);
	if (destination == gateway)
		return gateway_allowed(protocol, fragment, ip + header, total - header);
	if (destination == host_alias)
		return policy->host_loopback;
	if (destination == broadcast || destination == subnet_broadcast)
		return !fragment && protocol == PROTOCOL_UDP && total >= header + 4 && u16(ip + header + 2) == PORT_DHCP;
	switch (destination >> 24) {
	case 0: /* Linux dials 0.0.0.0 as loopback */
	case 127:
		return false;
	case 169: /* link-local: a cloud's metadata service */
		return (destination >> 16) != (169 << 8 | 254);
	default:
		return destination >> 28 < 14; /* neither multicast nor reserved */
	}
}
