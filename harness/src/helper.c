/* Processes of our own beside the app, each with one duty and one pipe to report through. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"

/* Out of the way of 3 and what follows. */
#define PARKED 64

static void become(const struct helper *helper, int reports) {
  int parked[HELPER_KEEPS], given = HELPER_REPORTS;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_IGN);
  setsid();
  prctl(PR_SET_NAME, helper->name);
  for (int i = 0; i < HELPER_KEEPS; i++) parked[i] = helper->keeps[i] >= 0 ? fcntl(helper->keeps[i], F_DUPFD, PARKED) : -1;
  if (dup2(reports, given) < 0) _exit(1);
  for (int i = 0; i < HELPER_KEEPS; i++)
    if (helper->keeps[i] >= 0 && dup2(parked[i], ++given) < 0) _exit(1);
  syscall(SYS_close_range, given + 1, ~0u, 0);
}

pid_t helper_start(struct harness *h, const struct helper *helper, int *reports) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) {
    send_warning(h, "%s: %s", helper->without, strerror(errno));
    return -1;
  }
  pid_t pid = fork();
  if (pid == 0) {
    become(helper, ends[1]);
    helper->run(h);
    _exit(1);
  }
  int number = errno;
  close(ends[1]);
  if (pid < 0) {
    send_warning(h, "%s: %s", helper->without, strerror(number));
    close(ends[0]);
    return -1;
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  *reports = ends[0];
  return pid;
}
