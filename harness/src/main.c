/* PID 1: comes up, says hello, and then is one loop over everything that can happen. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "tools.h"

/* A host that is gone for this long is not coming back: nobody could ever stop this machine. */
#define ORPHAN_MS 10000
#define HOST_RETRY_MS 50

/* Megabytes of windows and rings, zero until they are used: kept out of the file by not being initialised here. */
static struct harness harness;

static struct process *by_pid(struct harness *h, pid_t pid) {
  for (int i = 0; i < PROCESSES_MAX; i++)
    if (h->processes[i].used && h->processes[i].pid == pid) return &h->processes[i];
  return NULL;
}

static void reap(struct harness *h) {
  int status;
  /* The OOM killer's line comes before the death it tells of. */
  kernel_log_read(h);
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    struct process *process = by_pid(h, pid);
    /* A program that could not write ends; why, comes first. */
    if (process != NULL && status != 0) space_look(h);
    if (process != NULL) process_reaped(h, process, status);
    else ports_reaped(h, pid);
  }
}

static void read_signals(struct harness *h) {
  struct signalfd_siginfo info;
  while (read(h->signals, &info, sizeof info) == (ssize_t)sizeof info) continue;
  reap(h);
}

enum { POLL_CONTROL, POLL_SIGNALS, POLL_KERNEL, POLL_PORTS, POLL_ERRORLOG, POLL_FIRST_PROCESS };
#define POLLS_MAX (POLL_FIRST_PROCESS + PROCESSES_MAX * 4 + FORWARDS_MAX)

struct watch {
  struct process *process;
  enum { WATCH_START, WATCH_INPUT, WATCH_OUTPUT, WATCH_ERRORS } what;
};

static int watch_processes(struct harness *h, struct pollfd *polls, struct watch *watches, int count) {
  bool room = outbox_free(&h->outbox) >= OUTBOX_RESERVE + FRAME_HEADER + DATA_CHUNK;
  for (int i = 0; i < PROCESSES_MAX; i++) {
    struct process *p = &h->processes[i];
    if (!p->used) continue;
    if (p->error_fd >= 0) {
      watches[count] = (struct watch){p, WATCH_START};
      polls[count++] = (struct pollfd){.fd = p->error_fd, .events = POLLIN};
    }
    if (p->input_fd >= 0 && p->input_used > 0) {
      watches[count] = (struct watch){p, WATCH_INPUT};
      polls[count++] = (struct pollfd){.fd = p->input_fd, .events = POLLOUT};
    }
    for (int channel = 0; channel < 2; channel++) {
      const struct output *output = &p->outputs[channel];
      if (output->fd < 0 || !(output->ended || (output->credit > 0 && room))) continue;
      watches[count] = (struct watch){p, channel == 0 ? WATCH_OUTPUT : WATCH_ERRORS};
      polls[count++] = (struct pollfd){.fd = output->fd, .events = POLLIN};
    }
  }
  return count;
}

static void serve(struct harness *h, const struct watch *watch) {
  struct process *process = watch->process;
  if (!process->used) return;
  switch (watch->what) {
    case WATCH_START:
      if (process->starting) process_started(h, process);
      break;
    case WATCH_INPUT: process_write_input(h, process); break;
    case WATCH_OUTPUT: process_read_output(h, process, 0); break;
    case WATCH_ERRORS: process_read_output(h, process, 1); break;
  }
}

static void loop(struct harness *h) {
  static struct pollfd polls[POLLS_MAX];
  static struct watch watches[POLLS_MAX];
  int timeout = space_watch(h);
  if (h->phase == PHASE_STOPPING) timeout = stop_advance(h);
  if (!h->host_present && (timeout < 0 || timeout > HOST_RETRY_MS)) timeout = HOST_RETRY_MS;
  /* A port without a host is always "ready": it is asked now and then instead. */
  polls[POLL_CONTROL] = (struct pollfd){.fd = h->host_present ? h->control : -1,
                                        .events = (short)(POLLIN | (h->outbox.used > 0 ? POLLOUT : 0))};
  polls[POLL_SIGNALS] = (struct pollfd){.fd = h->signals, .events = POLLIN};
  polls[POLL_KERNEL] = (struct pollfd){.fd = h->kernel_log, .events = POLLIN};
  polls[POLL_PORTS] = (struct pollfd){.fd = h->proxy_reports, .events = POLLIN};
  polls[POLL_ERRORLOG] = (struct pollfd){.fd = h->errorlog_reports, .events = POLLIN};
  int count = watch_processes(h, polls, watches, POLL_FIRST_PROCESS);
  for (int i = 0; i < FORWARDS_MAX; i++)
    polls[count + i] = (struct pollfd){.fd = h->forwards[i].listener, .events = POLLIN};
  if (poll(polls, (nfds_t)count + FORWARDS_MAX, timeout) < 0) return;

  if (!h->host_present) {
    struct pollfd port = {.fd = h->control, .events = POLLIN | POLLOUT};
    poll(&port, 1, 0);
    h->host_present = (port.revents & POLLHUP) == 0;
    if (!h->host_present && h->phase != PHASE_STOPPING && now_ms() - h->host_lost_ms > ORPHAN_MS) {
      say("nobody holds the control port: shutting down");
      stop_begin(h, 0, SIGTERM, ORPHAN_MS, 0);
    }
  }
  if (h->host_present && (polls[POLL_CONTROL].revents & (POLLIN | POLLHUP)) != 0) control_read(h);
  if (h->helpers_due) {
    h->helpers_due = false;
    ports_start(h);
    errorlog_start(h);
  }
  if (polls[POLL_KERNEL].revents != 0) kernel_log_read(h);
  if (polls[POLL_ERRORLOG].revents != 0) errorlog_read(h);
  if (polls[POLL_PORTS].revents != 0) ports_read(h);
  if (polls[POLL_SIGNALS].revents != 0) read_signals(h);
  for (int i = POLL_FIRST_PROCESS; i < count; i++)
    if (polls[i].revents != 0) serve(h, &watches[i]);
  for (int i = 0; i < FORWARDS_MAX; i++)
    if (polls[count + i].revents != 0 && h->forwards[i].listener == polls[count + i].fd)
      forward_accept(h, &h->forwards[i]);
  if (h->host_present) control_write(h);
}

static void standard_streams(void) {
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3 && null >= 0; fd++)
    if (fcntl(fd, F_GETFD) < 0) dup2(null, fd);
  if (null > 2) close(null);
}

int main(int argc, char **argv) {
  /* Started again beside the app; what the kernel passes to PID 1 is not for us. */
  if (getpid() != 1) return tools_main(argc, argv);
  struct harness *h = &harness;
  struct failure failure;
  sigset_t all;
  h->control = h->signals = h->kernel_log = h->app_mounts = h->cgroup_procs = h->proxy_reports = h->errorlog_reports = -1;
  for (int i = 0; i < FORWARDS_MAX; i++) h->forwards[i].listener = -1;
  umask(022);
  standard_streams();
  if (mounts_early(&failure) < 0) die("%s", failure.text);
  signal(SIGPIPE, SIG_IGN);
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&all);
  sigaddset(&all, SIGCHLD);
  h->signals = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
  if (h->signals < 0) die("signalfd: %s", strerror(errno));
  kernel_log_open(h);
  if (control_open(h) < 0) die("there is no virtio port named aegis.control: %s", strerror(errno));
  h->host_lost_ms = now_ms();
  send_hello(h);
  for (;;) loop(h);
}
