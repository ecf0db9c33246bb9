#include "tail.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 500
#define LINES_PER_LOOK 50 /* a program in a loop of failures must not drown everything else */

#define STATE "errorlog"

struct followed {
  char path[TAIL_PATH];
  uint32_t rule;
  /* 0: not met yet in this run, or not known from the run before. */
  dev_t device;
  ino_t inode;
  off_t offset;
  bool seen;
};

static struct followed files[TAIL_FILES];
static size_t file_count;
static volatile sig_atomic_t ending;

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

static struct followed *follow(const char *path, uint32_t rule) {
  for (size_t i = 0; i < file_count; i++)
    if (strcmp(files[i].path, path) == 0) return &files[i];
  if (strlen(path) >= TAIL_PATH || file_count == TAIL_FILES) return NULL;
  struct followed *file = &files[file_count++];
  *file = (struct followed){.rule = rule};
  strcpy(file->path, path);
  return file;
}

static bool untouched_since(const struct stat *st, const struct timespec *since) {
  if (st->st_ctim.tv_sec != since->tv_sec) return st->st_ctim.tv_sec < since->tv_sec;
  return st->st_ctim.tv_nsec <= since->tv_nsec;
}

/* `fresh`: nothing is known from a run before. */
static int look_at(const struct tail *tail, const char *path, uint32_t rule, bool fresh, int *told) {
  struct stat st;
  struct followed *file = follow(path, rule);
  if (file == NULL || file->seen) return 0;
  file->seen = true;
  file->rule = rule;
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return 0;
  int result = 0;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
    bool other = (file->inode != 0 && file->inode != st.st_ino) || (file->device != 0 && file->device != st.st_dev);
    if (fresh && file->inode == 0 && untouched_since(&st, &tail->since)) file->offset = st.st_size;
    /* Rotated, or cut and written anew. */
    if (other || st.st_size < file->offset) file->offset = 0;
    file->inode = st.st_ino;
    file->device = st.st_dev;
    result = read_lines(tail->rules, file, fd, told, tail->reports);
  }
  close(fd);
  return result;
}

/* Lines of inode, offset and path. The number of a device is another at the next boot. */
static bool load(int state) {
  char line[TAIL_PATH + 64];
  int fd = state < 0 ? -1 : openat(state, STATE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  FILE *in = fd < 0 ? NULL : fdopen(fd, "re");
  if (in == NULL) return false;
  while (fgets(line, sizeof line, in) != NULL) {
    unsigned long long inode, offset;
    int at = 0;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "%llu %llu %n", &inode, &offset, &at) < 2 || at == 0 || offset > INT64_MAX) continue;
    struct followed *file = follow(line + at, 0);
    if (file == NULL) continue;
    file->inode = (ino_t)inode;
    file->offset = (off_t)offset;
  }
  fclose(in);
  return true;
}

/* After a power cut nothing that was told is told again, so that is written through; the rest may wait. */
static void save(int state, bool through) {
  int fd = openat(state, STATE ".new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  FILE *out = fd < 0 ? NULL : fdopen(fd, "we");
  if (out == NULL) return;
  for (size_t i = 0; i < file_count; i++)
    if (strchr(files[i].path, '\n') == NULL)
      fprintf(out, "%llu %llu %s\n", (unsigned long long)files[i].inode, (unsigned long long)files[i].offset, files[i].path);
  bool written = fflush(out) == 0 && (!through || fsync(fd) == 0);
  fclose(out);
  if (written && renameat(state, STATE ".new", state, STATE) == 0 && through) fsync(state);
}

static uint64_t mark(void) {
  uint64_t sum = file_count;
  for (size_t i = 0; i < file_count; i++) sum = sum * 31 + (uint64_t)files[i].inode * 7 + (uint64_t)files[i].offset;
  return sum;
}

static int look(const struct tail *tail, bool fresh) {
  int told = 0, result = 0;
  uint64_t before = mark();
  for (size_t i = 0; i < file_count; i++) files[i].seen = false;
  for (uint32_t rule = 0; rule < tail->count && result == 0; rule++) {
    glob_t found;
    if (glob(tail->rules[rule].glob, GLOB_NOSORT, NULL, &found) == 0) {
      for (size_t i = 0; i < found.gl_pathc && result == 0; i++)
        result = look_at(tail, found.gl_pathv[i], rule, fresh, &told);
    }
    globfree(&found);
  }
  for (size_t i = file_count; i-- > 0;)
    if (!files[i].seen) files[i] = files[--file_count];
  if (tail->state >= 0 && (told > 0 || fresh || mark() != before)) save(tail->state, told > 0);
  return result;
}

static void on_term(int number) {
  (void)number;
  ending = 1;
}

void tail_run(const struct tail *tail) {
  struct pollfd reader = {.fd = tail->reports};
  bool known = load(tail->state), last = false;
  sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
  for (bool first = true; look(tail, first && !known) == 0 && !last; first = false) {
    if (first && tail->following != NULL) tail->following();
    if (!ending && poll(&reader, 1, LOOK_MS) > 0) return;
    last = ending;
  }
}
