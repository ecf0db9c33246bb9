/* Follows files that match patterns and hands out their new lines. Compiles and is tested on the host. */
#ifndef TAIL_H
#define TAIL_H
#include <stddef.h>
#include <stdint.h>

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

/* Writes tail_records (without the line's unused rest) to `reports` until that is closed. What files hold at the start is old and not
 * told; files that appear later are told from their beginning. `following`, if any, is called when it is known what is old. */
void tail_run(const struct tail_rule *rules, size_t count, int reports, void (*following)(void));
#endif
