/* Which Ethernet frames of a guest may reach gvproxy. Pure: bytes in, verdict out. */
#ifndef AEGIS_POLICY_H
#define AEGIS_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct policy {
	/* The guest may reach the host's loopback by 192.168.127.254. */
	bool host_loopback;
};

bool frame_allowed(const struct policy *policy, const uint8_t *frame, size_t length);

#endif
