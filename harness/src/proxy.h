/* Makes servers that listen on the loopback only reachable on the machine's own address, and tells who listens where. It runs
 * as a process of its own beside PID 1, and takes a port over only while an app listens on it on the loopback and nobody does on the
 * machine's address: by steering where the kernel can (TCP), else by listening there itself. Compiles and is tested on the host. */
#ifndef PROXY_H
#define PROXY_H
#include <stddef.h>
#include <stdint.h>

#include "config.h"

struct port_report {
  uint16_t port;
  uint8_t udp, listening;
};

/* Writes port_reports to `reports`; returns only when that is closed, or netlink does not work (errno). Without `steer`, or when
 * the caller gives up the right to (`ready` is called when it is no longer needed), it listens itself. */
void proxy_run(const uint8_t address[4], const struct port_spec *ports, size_t count, int reports, bool steer,
               void (*ready)(void));
#endif
