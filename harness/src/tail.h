/* Follows files that match patterns and hands out their new lines. Compiles and is tested on the host. */
#ifndef TAIL_H
#define TAIL_H
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define TAIL_LINE 8192
#define TAIL_PATH 1024
#define TAIL_FILES 128

struct tail_rule {
  const char *glob;
  /* A line counts when it names this field; without one, when it has a word of failure in it. */
  const char *field;
};

struct tail_record {
  uint32_t rule, length;
  char path[TAIL_PATH];
  char line[TAIL_LINE];
};

struct tail {
  const struct tail_rule *rules;
  size_t count;
  int reports;
  /* Directory in which it is kept how far each file has been read, so that the next run goes on from there; -1: not kept. */
  int state;
  /* Without anything kept, files that nobody has changed after this are old and not told. */
  struct timespec since;
  /* Called when the first look is done. May be NULL. */
  void (*following)(void);
};

/* Writes tail_records (without the line's unused rest) to `reports` until that is closed, or until SIGTERM and one more look. Files that
 * appear are told from their beginning. */
void tail_run(const struct tail *tail);
#endif
