/* What the kernel says that the host wants to know: the OOM killer's victims, from /dev/kmsg (Documentation/ABI/testing/dev-kmsg). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "oom.h"
#include "tlv.h"

void kernel_log_open(struct harness *h) {
  h->kernel_log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (h->kernel_log < 0) say("open /dev/kmsg: %s", strerror(errno));
  else lseek(h->kernel_log, 0, SEEK_END);
}

void kernel_log_read(struct harness *h) {
  char record[8192];
  while (h->kernel_log >= 0) {
    ssize_t got = read(h->kernel_log, record, sizeof record - 1);
    /* EPIPE: records were overwritten before we read them; the next read goes on with the oldest that is left. */
    if (got < 0 && (errno == EPIPE || errno == EINTR)) continue;
    if (got <= 0) return;
    record[got] = 0;
    struct oom_kill kill;
    if (!oom_parse(record, &kill)) continue;
    h->oom_kills++;
    h->oom_last_pid = kill.pid;
    uint8_t buffer[256];
    struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
    tlv_put_u32(&writer, 1, 1);
    tlv_put_u32(&writer, 2, (uint32_t)kill.pid);
    tlv_put_text(&writer, 3, kill.name);
    tlv_put_u64(&writer, 4, kill.rss_bytes);
    if (outbox_free(&h->outbox) > OUTBOX_RESERVE / 2) send_frame(h, FRAME_EVENT, 0, 0, buffer, writer.used);
  }
}
