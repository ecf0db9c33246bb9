/* Directories that this process, and what it execs, can read but not write; Linux only. */
#ifndef AEGIS_READONLY_H
#define AEGIS_READONLY_H

/* Gives the process a mount namespace of its own (in a user namespace when it has no privilege). -1 with errno. */
int own_mounts(void);

/* Makes everything below `directory` read-only in that namespace. -1 with errno. */
int make_read_only(const char *directory);

#endif
