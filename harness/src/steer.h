/* Sends new connections for a port of the machine's address to a listener that is bound elsewhere, so that taking a port over never
 * takes it away from an app that wants to bind it later. A BPF program of type sk_lookup (Documentation/bpf/prog_sk_lookup.rst)
 * does it; kernels without BPF, or users without the right, go without. */
#ifndef STEER_H
#define STEER_H
#include <stdbool.h>
#include <stdint.h>

/* Where the listener is bound, in host order: 127.127.127.127, where no app of anybody's would be. */
#define STEER_ADDRESS 0x7f7f7f7f

struct steer {
  int map, link, listener;
};

/* False: not to be had here (errno). */
bool steer_open(struct steer *steer, const uint8_t address[4]);
bool steer_set(const struct steer *steer, uint16_t port, bool on);
/* The next connection that was steered, and the port it was meant for; -1: none. */
int steer_accept(const struct steer *steer, uint16_t *port);
#endif
