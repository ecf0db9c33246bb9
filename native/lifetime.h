/* A helper process must not outlive the aegis process that started it, however that one ends. */
#ifndef AEGIS_LIFETIME_H
#define AEGIS_LIFETIME_H

#include <sys/types.h>

/*
 * Asks the kernel to kill this process when its parent dies (Linux: PR_SET_PDEATHSIG; it survives execve).
 * `parent` closes the race in which the parent has died before the call. Returns 0, or -1 with errno (ESRCH: the parent
 * is gone already).
 */
int die_with_parent(pid_t parent);

/* Reads a process id; -1 if `text` is none. */
pid_t parse_pid(const char *text);

#endif
