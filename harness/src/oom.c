#include "oom.h"

#include <stdlib.h>
#include <string.h>

static uint64_t kib_after(const char *text, const char *label) {
  const char *at = strstr(text, label);
  return at == NULL ? 0 : strtoull(at + strlen(label), NULL, 10) * 1024;
}

bool oom_parse(const char *record, struct oom_kill *kill) {
  char *end;
  unsigned long priority = strtoul(record, &end, 10);
  const char *text = strchr(record, ';');
  if (end == record || priority >= 8 || text == NULL) return false;
  const char *victim = strstr(text, "Killed process ");
  if (victim == NULL) return false;
  victim += strlen("Killed process ");
  kill->pid = (pid_t)strtol(victim, &end, 10);
  if (end == victim || strncmp(end, " (", 2) != 0 || kill->pid <= 0) return false;
  /* A name may hold any byte, also ") total-vm:": the last such end counts, as the kernel's own text has it only once. */
  const char *name = end + 2, *close = NULL;
  for (const char *at = name; (at = strstr(at, ") total-vm:")) != NULL; at++) close = at;
  if (close == NULL) return false;
  size_t length = (size_t)(close - name);
  if (length >= sizeof kill->name) length = sizeof kill->name - 1;
  memcpy(kill->name, name, length);
  kill->name[length] = 0;
  kill->rss_bytes =
      kib_after(close, "anon-rss:") + kib_after(close, "file-rss:") + kib_after(close, "shmem-rss:");
  return true;
}
