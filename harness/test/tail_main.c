/* The follower alone, for tests on the host: tail_main STATE GLOB [FIELD] prints "following", then "path: line", until its input ends; at
 * its end the follower has its last look. STATE is the directory that it keeps its positions in. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
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
  if (argc < 3 || pipe(reports) < 0) return 2;
  struct tail_rule rule = {.glob = argv[2], .field = argc > 3 ? argv[3] : NULL};
  struct tail tail = {
      .rules = &rule, .count = 1, .reports = reports[1], .state = open(argv[1], O_RDONLY | O_DIRECTORY), .following = following};
  clock_gettime(CLOCK_REALTIME_COARSE, &tail.since);
  pid_t pid = fork();
  if (pid == 0) {
    close(reports[0]);
    tail_run(&tail);
    _exit(0);
  }
  close(reports[1]);
  struct pollfd polls[] = {{.fd = reports[0], .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  while (poll(polls, 2, -1) > 0) {
    if (polls[1].revents != 0) {
      kill(pid, SIGTERM);
      polls[1].fd = -1;
    }
    if (polls[0].revents == 0) continue;
    if (read_fully(reports[0], &record, offsetof(struct tail_record, line)) < 0) break;
    if (read_fully(reports[0], record.line, record.length) < 0) break;
    printf("%s: %.*s\n", strrchr(record.path, '/') + 1, (int)record.length, record.line);
    fflush(stdout);
  }
  close(reports[0]);
  return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}
