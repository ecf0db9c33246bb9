#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "proxy.h"
#include "tlv.h"

#define RESTART_PAUSE_MS 1000

/* It talks to whoever connects, so it keeps one right only: to listen below port 1024. */
static void drop_rights(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {{.effective = 1u << CAP_NET_BIND_SERVICE, .permitted = 1u << CAP_NET_BIND_SERVICE}};
  syscall(SYS_capset, &header, data);
}

static void run(struct harness *h) {
  /* Small, and everything that is published needs it: not the one to kill when memory runs out. */
  write_file("/proc/self/oom_score_adj", "-999");
  proxy_run(h->network.address, h->ports, h->port_count, HELPER_REPORTS, true, drop_rights);
  say("the proxy gives up: %s", strerror(errno));
}

static void start(struct harness *h) {
  static const struct helper proxy = {
      .name = "aegis-proxy", .without = "servers on localhost are not reachable", .keeps = {-1, -1}, .run = run};
  pid_t pid = helper_start(h, &proxy, &h->proxy_reports);
  if (pid < 0) return;
  h->proxy_pid = pid;
  h->proxy_started_ms = now_ms();
}

void ports_prepare(struct harness *h, const struct boot_config *config) {
  if (!config->has_network) return;
  h->ports = calloc(config->port_count + 1, sizeof *h->ports);
  if (h->ports == NULL) return;
  h->port_count = config->port_count;
  memcpy(h->ports, config->ports, config->port_count * sizeof *h->ports);
}

void ports_start(struct harness *h) {
  if (h->ports != NULL) start(h);
}

void ports_read(struct harness *h) {
  struct port_report report;
  ssize_t got;
  while ((got = read(h->proxy_reports, &report, sizeof report)) == (ssize_t)sizeof report) {
    uint8_t buffer[64];
    struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
    tlv_put_u32(&writer, 1, 2);
    tlv_put_u32(&writer, 5, report.port);
    tlv_put_u32(&writer, 6, report.udp);
    tlv_put_u32(&writer, 7, report.listening);
    if (outbox_free(&h->outbox) > OUTBOX_RESERVE / 2) send_frame(h, FRAME_EVENT, 0, 0, buffer, writer.used);
  }
  if (got < 0 && errno == EAGAIN) return;
  close(h->proxy_reports);
  h->proxy_reports = -1;
}

bool ports_reaped(struct harness *h, pid_t pid) {
  if (pid != h->proxy_pid) return false;
  h->proxy_pid = 0;
  if (h->proxy_reports >= 0) ports_read(h);
  if (h->proxy_reports >= 0) close(h->proxy_reports);
  h->proxy_reports = -1;
  if (h->phase != PHASE_RUNNING) return true;
  if (now_ms() - h->proxy_started_ms < RESTART_PAUSE_MS)
    send_warning(h, "servers on localhost are not reachable: the proxy ended at once");
  else start(h);
  return true;
}
