/* The kernel's line about an OOM kill (mm/oom_kill.c, __oom_kill_process). Compiles on the host. */
#ifndef OOM_H
#define OOM_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct oom_kill {
  pid_t pid;
  char name[16]; /* TASK_COMM_LEN */
  uint64_t rss_bytes;
};

/* `record` is one of /dev/kmsg, NUL-terminated: "prio,seq,usec,flags;text\n". A program can write to /dev/kmsg too, but only
 * with facility bits set, which the kernel's own messages lack. */
bool oom_parse(const char *record, struct oom_kill *kill);
#endif
