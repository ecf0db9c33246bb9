#include "tail.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 500
#define LINES_PER_LOOK 50 /* a program in a loop of failures must not drown everything else */

struct followed {
  char path[TAIL_PATH];
  uint32_t rule;
  dev_t device;
  ino_t inode;
  off_t offset;
  bool seen;
};

static struct followed files[TAIL_FILES];
static size_t file_count;

static bool tells_failure(const struct tail_rule *rule, const char *line) {
  static const char *const words[] = {"error", "fatal", "panic", "exception", "fail"};
  if (rule->field != NULL) {
    /* Of a nested field (a.b), the last name is what stands in the line. */
    const char *dot = strrchr(rule->field, '.');
    return strstr(line, dot != NULL ? dot + 1 : rule->field) != NULL;
  }
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcasestr(line, words[i]) != NULL) return true;
  return false;
}

static int report(const struct tail_rule *rules, const struct followed *file, const char *line, size_t length, int reports) {
  static struct tail_record record;
  record.rule = file->rule;
  record.length = (uint32_t)(length < TAIL_LINE ? length : TAIL_LINE - 1);
  memcpy(record.path, file->path, sizeof record.path);
  memcpy(record.line, line, record.length);
  record.line[record.length] = 0;
  if (!tells_failure(&rules[file->rule], record.line)) return 0;
  size_t size = offsetof(struct tail_record, line) + record.length;
  for (size_t done = 0; done < size;) {
    ssize_t count = write(reports, (const uint8_t *)&record + done, size - done);
    if (count < 0 && errno != EINTR) return -1;
    if (count > 0) done += (size_t)count;
  }
  return 1;
}

/* Whole lines only, but for one that is longer than the buffer. -1: nobody reads the reports. */
static int read_lines(const struct tail_rule *rules, struct followed *file, int fd, int *told, int reports) {
  char buffer[TAIL_LINE];
  for (;;) {
    ssize_t got = pread(fd, buffer, sizeof buffer, file->offset);
    if (got <= 0) return 0;
    size_t start = 0;
    for (char *end; (end = memchr(buffer + start, '\n', (size_t)got - start)) != NULL;) {
      size_t length = (size_t)(end - buffer) - start;
      int result = *told < LINES_PER_LOOK ? report(rules, file, buffer + start, length, reports) : 0;
      if (result < 0) return -1;
      *told += result;
      start += length + 1;
    }
    if (start == 0 && got == sizeof buffer) {
      if (*told < LINES_PER_LOOK && report(rules, file, buffer, (size_t)got, reports) < 0) return -1;
      start = (size_t)got;
    }
    if (start == 0) return 0;
    file->offset += (off_t)start;
  }
}

static struct followed *follow(const char *path, uint32_t rule, bool first) {
  for (size_t i = 0; i < file_count; i++)
    if (strcmp(files[i].path, path) == 0) return &files[i];
  if (strlen(path) >= TAIL_PATH || file_count == TAIL_FILES) return NULL;
  struct followed *file = &files[file_count++];
  *file = (struct followed){.rule = rule, .offset = first ? -1 : 0};
  strcpy(file->path, path);
  return file;
}

static int look_at(const struct tail_rule *rules, const char *path, uint32_t rule, bool first, int *told, int reports) {
  struct stat st;
  struct followed *file = follow(path, rule, first);
  if (file == NULL) return 0;
  file->seen = true;
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return 0;
  int result = 0;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
    bool known = file->inode != 0, other = known && (file->inode != st.st_ino || file->device != st.st_dev);
    if (file->offset < 0) file->offset = st.st_size;
    /* Rotated, or cut and written anew. */
    if (other || st.st_size < file->offset) file->offset = 0;
    file->inode = st.st_ino;
    file->device = st.st_dev;
    result = read_lines(rules, file, fd, told, reports);
  }
  close(fd);
  return result;
}

static int look(const struct tail_rule *rules, size_t count, bool first, int reports) {
  int told = 0;
  for (size_t i = 0; i < file_count; i++) files[i].seen = false;
  for (uint32_t rule = 0; rule < count; rule++) {
    glob_t found;
    if (glob(rules[rule].glob, GLOB_NOSORT, NULL, &found) == 0) {
      for (size_t i = 0; i < found.gl_pathc; i++)
        if (look_at(rules, found.gl_pathv[i], rule, first, &told, reports) < 0) {
          globfree(&found);
          return -1;
        }
    }
    globfree(&found);
  }
  for (size_t i = file_count; i-- > 0;)
    if (!files[i].seen) files[i] = files[--file_count];
  return 0;
}

void tail_run(const struct tail_rule *rules, size_t count, int reports, void (*following)(void)) {
  struct pollfd reader = {.fd = reports};
  for (bool first = true; look(rules, count, first, reports) == 0; first = false) {
    if (first && following != NULL) following();
    if (poll(&reader, 1, LOOK_MS) > 0) return;
  }
}
