/*
 * aegis-guard: binds a program's life to the aegis process that started it, then becomes that program.
 *
 *   aegis-guard PARENT_PID [--read-only DIRECTORY]... -- PROGRAM [ARGUMENT]...
 *   aegis-guard tsc-khz
 *
 * --read-only makes a directory unwritable for the program, in a mount namespace of its own: file servers for virtio-fs
 * enforce nothing themselves, and a guest can always mount read-write. tsc-khz prints the rate of the time stamp counter:
 * an emulated guest sees the host's counter and can't measure it reliably.
 */
#define _GNU_SOURCE
#include "lifetime.h"
#include "readonly.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 100, EXIT_SYSTEM = 103, EXIT_EXEC = 127 };
enum { TSC_SAMPLE_NS = 20 * 1000 * 1000 };

#if defined(__x86_64__)
#include <x86intrin.h>

static double nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int print_tsc_khz(void)
{
	const struct timespec pause = { .tv_nsec = TSC_SAMPLE_NS };
	double since = nanoseconds(), elapsed;
	unsigned long long first = __rdtsc(), last;

	nanosleep(&pause, NULL);
	elapsed = nanoseconds() - since;
	last = __rdtsc();
	printf("%.0f\n", (double)(last - first) / elapsed * 1e6);
	return 0;
}
#else
static int print_tsc_khz(void)
{
	fputs("aegis-guard: this processor has no time stamp counter\n", stderr);
	return EXIT_USAGE;
}
#endif

int main(int argc, char **argv)
{
	pid_t parent = argc > 1 ? parse_pid(argv[1]) : -1;
	int at = 2;

	if (argc == 2 && strcmp(argv[1], "tsc-khz") == 0)
		return print_tsc_khz();
	while (at + 1 < argc && strcmp(argv[at], "--read-only") == 0)
		at += 2;
	if (parent < 0 || at + 1 >= argc || strcmp(argv[at], "--") != 0) {
		fputs("usage: aegis-guard PARENT_PID [--read-only DIRECTORY]... -- PROGRAM [ARGUMENT]...\n", stderr);
		return EXIT_USAGE;
	}
	for (int i = 2; i < at; i += 2) {
		if ((i == 2 && own_mounts() != 0) || make_read_only(argv[i + 1]) != 0) {
			fprintf(stderr, "aegis-guard: %s can't be shared read-only: %s\n", argv[i + 1], strerror(errno));
			return EXIT_SYSTEM;
		}
	}
	/* Last, because a change of credentials may take the bond away. */
	if (die_with_parent(parent) != 0) {
		fprintf(stderr, "aegis-guard: binding to the parent's life: %s\n", strerror(errno));
		return EXIT_SYSTEM;
	}
	execvp(argv[at + 1], &argv[at + 1]);
	fprintf(stderr, "aegis-guard: %s: %s\n", argv[at + 1], strerror(errno));
	return EXIT_EXEC;
}
