/* Connections from the machine's address to a server on its loopback: bytes both ways, half-closes and resets passed on. */
#ifndef RELAY_H
#define RELAY_H
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define RELAYS_MAX 512
#define UDP_PEERS_MAX 256
#define RELAY_BUFFER (64 * 1024)

struct relays;

struct relays *relays_open(void);
/* Connects an accepted (non-blocking) connection to the loopback. */
void relay_add(struct relays *relays, int client, bool v6, uint16_t port);
bool relays_full(const struct relays *relays);
/* Adds what to wait for; gives how many entries were used (at most 2 * RELAYS_MAX). */
int relays_poll(struct relays *relays, struct pollfd *polls);
void relays_serve(struct relays *relays, const struct pollfd *polls, int count);

struct udp_peers;

struct udp_peers *udp_open(void);
/* Passes on what came on `socket`; every client gets a socket of its own towards the server, so that answers find back. */
void udp_receive(struct udp_peers *peers, int socket, bool v6, uint16_t port);
int udp_poll(struct udp_peers *peers, struct pollfd *polls);
void udp_serve(struct udp_peers *peers, const struct pollfd *polls, int count);
/* The socket of a port is about to be closed. */
void udp_forget(struct udp_peers *peers, int socket);
#endif
