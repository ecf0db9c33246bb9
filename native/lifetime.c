#include "lifetime.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>

int die_with_parent(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return -1;
	if (getppid() != parent) {
		errno = ESRCH;
		return -1;
	}
	return 0;
}

#else
#include <pthread.h>
#include <sys/event.h>

/* Without PDEATHSIG: a child of this process watches both ends of the bond and cuts it. It dies with the one it guards. */
static void watch(pid_t parent, pid_t guarded)
{
	struct kevent changes[2], event;
	int queue = kqueue();

	if (queue < 0)
		_exit(1);
	EV_SET(&changes[0], parent, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
	EV_SET(&changes[1], guarded, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
	if (kevent(queue, changes, 2, &event, 1, NULL) == 1 && event.ident == (uintptr_t)guarded)
		_exit(0);
	kill(guarded, SIGKILL);
	_exit(0);
}

int die_with_parent(pid_t parent)
{
	pid_t self = getpid();
	pid_t watcher = fork();

	if (watcher < 0)
		return -1;
	if (watcher == 0) {
		for (int fd = 0; fd < 256; fd++)
			close(fd);
		watch(parent, self);
	}
	if (getppid() != parent) {
		errno = ESRCH;
		return -1;
	}
	return 0;
}
#endif

pid_t parse_pid(const char *text)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value <= 0 || value > INT_MAX)
		return -1;
	return (pid_t)value;
}
