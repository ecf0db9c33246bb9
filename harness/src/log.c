#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

/* To the kernel's log, so that it stands in the console's tail next to what the kernel said. */
void say(const char *format, ...) {
  char line[TEXT_SIZE + 32];
  int start = snprintf(line, sizeof line, "<3>aegis: ");
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line + start, sizeof line - (size_t)start - 1, format, arguments);
  va_end(arguments);
  strcat(line, "\n");
  int log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
  ssize_t ignored = write(log >= 0 ? log : 2, log >= 0 ? line : line + 3, strlen(log >= 0 ? line : line + 3));
  (void)ignored;
  if (log >= 0) close(log);
}

int fail(struct failure *failure, int number, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(failure->text, sizeof failure->text, format, arguments);
  va_end(arguments);
  failure->number = number != 0 ? number : EINVAL;
  size_t used = strlen(failure->text);
  snprintf(failure->text + used, sizeof failure->text - used, ": %s", strerror(failure->number));
  return -1;
}

void die(const char *format, ...) {
  char text[TEXT_SIZE];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  say("%s", text);
  sync();
  reboot(RB_AUTOBOOT);
  for (;;) pause();
}

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return -1;
  size_t length = strlen(text);
  ssize_t written = write(fd, text, length);
  int number = errno;
  close(fd);
  errno = number;
  return written == (ssize_t)length ? 0 : -1;
}
