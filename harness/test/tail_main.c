/* The follower alone, for tests on the host: tail_main GLOB [FIELD] prints "following", then "path: line", until its input ends. */
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/tail.h"

static int read_fully(int fd, void *into, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t got = read(fd, (char *)into + done, size - done);
    if (got <= 0) return -1;
    done += (size_t)got;
  }
  return 0;
}

static void following(void) {
  printf("following\n");
  fflush(stdout);
}

int main(int argc, char **argv) {
  static struct tail_record record;
  int reports[2];
  if (argc < 2 || pipe(reports) < 0) return 2;
  struct tail_rule rule = {.glob = argv[1], .field = argc > 2 ? argv[2] : NULL};
  pid_t pid = fork();
  if (pid == 0) {
    close(reports[0]);
    tail_run(&rule, 1, reports[1], following);
    _exit(0);
  }
  close(reports[1]);
  struct pollfd polls[] = {{.fd = reports[0], .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  while (poll(polls, 2, -1) > 0 && polls[1].revents == 0) {
    if (read_fully(reports[0], &record, offsetof(struct tail_record, line)) < 0) break;
    if (read_fully(reports[0], record.line, record.length) < 0) break;
    printf("%s: %.*s\n", strrchr(record.path, '/') + 1, (int)record.length, record.line);
    fflush(stdout);
  }
  close(reports[0]);
  return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}
