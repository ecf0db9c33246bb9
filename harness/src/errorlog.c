#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "tail.h"
#include "tlv.h"

/* Following is done by a process of its own, inside the app's mount namespace: it sees the paths as the app does, and no link leads it out. */
static struct tail_rule rules[GLOBS_MAX];
static size_t rule_count;

int errorlog_prepare(const struct boot_config *config, struct failure *failure) {
  for (; rule_count < config->glob_count; rule_count++) {
    const struct glob_spec *wanted = &config->globs[rule_count];
    struct tail_rule rule = {.glob = strdup(wanted->glob), .field = wanted->field != NULL ? strdup(wanted->field) : NULL};
    if (rule.glob == NULL || (wanted->field != NULL && rule.field == NULL)) return fail(failure, ENOMEM, "keep an error log's rule");
    rules[rule_count] = rule;
  }
  return 0;
}

void errorlog_start(struct harness *h) {
  int reports[2];
  if (rule_count == 0) return;
  if (pipe2(reports, O_CLOEXEC) < 0) {
    send_warning(h, "error logs are not followed: %s", strerror(errno));
    return;
  }
  pid_t pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_IGN);
    setsid();
    prctl(PR_SET_NAME, "aegis-errorlog");
    if (dup2(reports[1], 3) < 0 || setns(h->app_mounts, CLONE_NEWNS) < 0) _exit(1);
    syscall(SYS_close_range, 4, ~0u, 0);
    tail_run(rules, rule_count, 3, NULL);
    _exit(0);
  }
  close(reports[1]);
  if (pid < 0) {
    send_warning(h, "error logs are not followed: %s", strerror(errno));
    close(reports[0]);
    return;
  }
  fcntl(reports[0], F_SETFL, O_NONBLOCK);
  h->errorlog_pid = pid;
  h->errorlog_reports = reports[0];
}

void errorlog_read(struct harness *h) {
  static struct tail_record record;
  uint8_t *into = (uint8_t *)&record;
  for (;;) {
    /* The record's head first, then as much of the line as the head says. */
    size_t head = offsetof(struct tail_record, line);
    size_t wanted = h->errorlog_have < head ? head : head + record.length;
    ssize_t got = read(h->errorlog_reports, into + h->errorlog_have, wanted - h->errorlog_have);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      close(h->errorlog_reports);
      h->errorlog_reports = -1;
      return;
    }
    h->errorlog_have += (size_t)got;
    if (h->errorlog_have < head) continue;
    if (record.length >= TAIL_LINE) record.length = TAIL_LINE - 1;
    if (h->errorlog_have < head + record.length) continue;
    h->errorlog_have = 0;
    record.path[sizeof record.path - 1] = 0;
    uint8_t buffer[sizeof record + 64];
    struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
    tlv_put_u32(&writer, 1, 3);
    tlv_put_text(&writer, 3, record.path);
    tlv_put(&writer, 8, record.line, record.length);
    tlv_put_u32(&writer, 9, record.rule);
    if (outbox_free(&h->outbox) > OUTBOX_RESERVE) send_frame(h, FRAME_EVENT, 0, 0, buffer, writer.used);
  }
}
