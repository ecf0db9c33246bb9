/* The orderly end: the app's stop signal and its grace, then everybody else, then the disks, then the machine. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define OTHERS_GRACE_MS 1000
#define KILLED_WAIT_MS 5000
#define FAREWELL_MS 2000

enum { STEP_APP, STEP_OTHERS, STEP_KILLED };
enum { HOW_RESTART, HOW_POWER_OFF, HOW_HALT };

static bool app_runs(const struct harness *h) {
  for (int i = 0; i < PROCESSES_MAX; i++)
    if (h->processes[i].used && h->processes[i].app && h->processes[i].pid > 0) return true;
  return false;
}

/* Kernel threads are nobody's children, so waiting tells whether any process is left. */
static bool anybody_left(void) {
  siginfo_t info;
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void stop_begin(struct harness *h, uint32_t request, uint32_t signal_number, uint32_t grace_ms, uint32_t how) {
  if (h->phase == PHASE_STOPPING) {
    /* Asked again, so asked to hurry. */
    if (now_ms() + grace_ms < h->stopping.deadline_ms) h->stopping.deadline_ms = now_ms() + grace_ms;
    if (request != 0) h->stopping.request = request;
    return;
  }
  h->phase = PHASE_STOPPING;
  h->stopping = (struct stopping){.request = request, .how = how, .step = STEP_APP, .deadline_ms = now_ms() + grace_ms};
  for (int i = 0; i < PROCESSES_MAX; i++)
    if (h->processes[i].used && h->processes[i].app && h->processes[i].pid > 0)
      kill(h->processes[i].pid, (int)signal_number);
}

static _Noreturn void finish(struct harness *h) {
  /* The follower has had its last look. */
  errorlog_read(h);
  if (h->app_mounts >= 0) close(h->app_mounts);
  root_unmount(h);
  if (h->stopping.request != 0) send_ok(h, h->stopping.request);
  control_drain(h, FAREWELL_MS);
  reboot(h->stopping.how == HOW_POWER_OFF ? RB_POWER_OFF : h->stopping.how == HOW_HALT ? RB_HALT_SYSTEM : RB_AUTOBOOT);
  die("reboot: %s", strerror(errno));
}

int stop_advance(struct harness *h) {
  struct stopping *stopping = &h->stopping;
  bool late = now_ms() >= stopping->deadline_ms;
  if (stopping->step == STEP_APP) {
    if (app_runs(h) && !late) return (int)(stopping->deadline_ms - now_ms());
    for (int i = 0; i < PROCESSES_MAX; i++)
      if (h->processes[i].used && h->processes[i].app && h->processes[i].pid > 0) kill(h->processes[i].pid, SIGKILL);
    kill(-1, SIGTERM);
    stopping->step = STEP_OTHERS;
    stopping->deadline_ms = now_ms() + OTHERS_GRACE_MS;
    return 0;
  }
  if (!anybody_left()) finish(h);
  if (stopping->step == STEP_OTHERS) {
    if (!late) return (int)(stopping->deadline_ms - now_ms());
    kill(-1, SIGKILL);
    stopping->step = STEP_KILLED;
    stopping->deadline_ms = now_ms() + KILLED_WAIT_MS;
    return 0;
  }
  if (late) {
    say("processes are left that even SIGKILL does not end");
    finish(h);
  }
  return (int)(stopping->deadline_ms - now_ms());
}
