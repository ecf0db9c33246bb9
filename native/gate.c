/*
 * aegis-gate: stands between a virtual machine and its gvproxy, passes the frames that policy.c allows and drops the others.
 * Both sides speak QEMU's stream framing: a big-endian u32 length before each Ethernet frame.
 *
 *   aegis-gate PARENT_PID LISTEN_SOCKET GVPROXY_SOCKET [host-loopback]
 *
 * Prints "ready" once LISTEN_SOCKET accepts. Serves one connection (gvproxy takes one machine) and ends with it.
 */
#include "lifetime.h"
#include "policy.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 100, EXIT_SYSTEM = 103, EXIT_PROTOCOL = 104 };
enum { LENGTH_PREFIX = 4, FRAME_MAX = 65536 + 18, BUFFER_SIZE = 256 * 1024 };
enum { CONNECT_TRIES = 1000, CONNECT_PAUSE_NS = 5 * 1000 * 1000 };

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("aegis-gate: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(status);
}

/* Either side's end is the end of the machine's network. */
static void write_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			exit(0);
		bytes += n;
		length -= (size_t)n;
	}
}

static size_t read_some(int fd, uint8_t *bytes, size_t length)
{
	for (;;) {
		ssize_t n = read(fd, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			exit(0);
		return (size_t)n;
	}
}

struct link {
	int machine, gvproxy;
	struct policy policy;
};

/* To the guest everything passes: gvproxy is ours. */
__attribute__((noreturn)) static void *to_machine(void *argument)
{
	static uint8_t buffer[BUFFER_SIZE];
	const struct link *link = argument;

	for (;;)
		write_all(link->machine, buffer, read_some(link->gvproxy, buffer, sizeof(buffer)));
}

/* Passes whole frames in runs as long as nothing is dropped, so that the usual case costs one write a read. */
__attribute__((noreturn)) static void from_machine(const struct link *link)
{
	static uint8_t buffer[BUFFER_SIZE];
	size_t used = 0;

	for (;;) {
		size_t at = 0, run = 0;

		used += read_some(link->machine, buffer + used, sizeof(buffer) - used);
		while (used - at >= LENGTH_PREFIX) {
			const uint8_t *prefix = buffer + at;
			size_t length = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];

			if (length > FRAME_MAX)
				fail(EXIT_PROTOCOL, "a frame of %zu bytes", length);
			if (used - at < LENGTH_PREFIX + length)
				break;
			if (!frame_allowed(&link->policy, prefix + LENGTH_PREFIX, length)) {
				write_all(link->gvproxy, buffer + run, at - run);
				run = at + LENGTH_PREFIX + length;
			}
			at += LENGTH_PREFIX + length;
		}
		write_all(link->gvproxy, buffer + run, at - run);
		memmove(buffer, buffer + at, used - at);
		used -= at;
	}
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		fail(EXIT_USAGE, "%s is too long for a socket", path);
	strcpy(address.sun_path, path);
	return address;
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	umask(0177);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1) != 0)
		fail(EXIT_SYSTEM, "%s: %s", path, strerror(errno));
	return fd;
}

/* gvproxy starts beside this process; its socket appears within moments or never. */
static int connect_to(const char *path)
{
	struct sockaddr_un address = address_of(path);
	const struct timespec pause = { .tv_nsec = CONNECT_PAUSE_NS };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0)
		fail(EXIT_SYSTEM, "socket: %s", strerror(errno));
	for (int tries = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0; tries++) {
		if ((errno != ENOENT && errno != ECONNREFUSED && errno != EINTR) || tries == CONNECT_TRIES)
			fail(EXIT_SYSTEM, "%s: %s", path, strerror(errno));
		nanosleep(&pause, NULL);
	}
	return fd;
}

int main(int argc, char **argv)
{
	pid_t parent = argc > 1 ? parse_pid(argv[1]) : -1;
	static struct link link;
	pthread_t thread;
	int listener;

	if (parent < 0 || argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "host-loopback") != 0)) {
		fputs("usage: aegis-gate PARENT_PID LISTEN_SOCKET GVPROXY_SOCKET [host-loopback]\n", stderr);
		return EXIT_USAGE;
	}
	if (die_with_parent(parent) != 0)
		fail(EXIT_SYSTEM, "binding to the parent's life: %s", strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	link.policy.host_loopback = argc == 5;
	link.gvproxy = connect_to(argv[3]);
	listener = listen_on(argv[2]);
	if (puts("ready") < 0 || fflush(stdout) != 0)
		fail(EXIT_SYSTEM, "stdout: %s", strerror(errno));
	do
		link.machine = accept(listener, NULL, NULL);
	while (link.machine < 0 && errno == EINTR);
	if (link.machine < 0)
		fail(EXIT_SYSTEM, "accept: %s", strerror(errno));
	close(listener);
	errno = pthread_create(&thread, NULL, to_machine, &link);
	if (errno != 0)
		fail(EXIT_SYSTEM, "pthread_create: %s", strerror(errno));
	from_machine(&link);
}
