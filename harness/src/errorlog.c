#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "tail.h"
#include "tlv.h"

/* Following is done by a process of its own, inside the app's mount namespace: it sees the paths as the app does, and no link leads it out. */
static struct tail_rule rules[GLOBS_MAX];
static size_t rule_count;
/* What the app writes is newer. */
static struct timespec since;

int errorlog_prepare(const struct boot_config *config, struct failure *failure) {
  clock_gettime(CLOCK_REALTIME_COARSE, &since);
  for (; rule_count < config->glob_count; rule_count++) {
    const struct glob_spec *wanted = &config->globs[rule_count];
    struct tail_rule rule = {.glob = strdup(wanted->glob), .field = wanted->field != NULL ? strdup(wanted->field) : NULL};
    if (rule.glob == NULL || (wanted->field != NULL && rule.field == NULL)) return fail(failure, ENOMEM, "keep an error log's rule");
    rules[rule_count] = rule;
  }
  return 0;
}

static void run(struct harness *h) {
  int next = HELPER_REPORTS + 1;
  if (setns(next, CLONE_NEWNS) < 0) _exit(1);
  close(next);
  tail_run(&(struct tail){.rules = rules,
                          .count = rule_count,
                          .reports = HELPER_REPORTS,
                          .state = h->upper_device[0] != 0 ? next + 1 : -1,
                          .since = since});
  _exit(0);
}

void errorlog_start(struct harness *h) {
  if (rule_count == 0) return;
  /* Beside the overlay's upper directory: no app sees it, and no layer is made of it. */
  int state = h->upper_device[0] != 0 ? open(UPPER, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  struct helper follower = {
      .name = "aegis-errorlog", .without = "error logs are not followed", .keeps = {h->app_mounts, state}, .run = run};
  h->errorlog_pid = helper_start(h, &follower, &h->errorlog_reports);
  if (state >= 0) close(state);
}

void errorlog_read(struct harness *h) {
  static struct tail_record record;
  if (h->errorlog_reports < 0) return;
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
