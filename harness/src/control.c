#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "tlv.h"

#define PORT_NAME "aegis.control"
#define PORT_WAIT_MS 10000
#define PORTS_TRIED 32

/* The port of our name among the virtio-serial ports: /sys/class/virtio-ports/vport<N>p<M>/name. */
static int open_named_port(void) {
  char path[64], name[64];
  for (int device = 0; device < 8; device++) {
    for (int port = 0; port < PORTS_TRIED; port++) {
      snprintf(path, sizeof path, "/sys/class/virtio-ports/vport%dp%d/name", device, port);
      int fd = open(path, O_RDONLY | O_CLOEXEC);
      if (fd < 0) continue;
      ssize_t got = read(fd, name, sizeof name - 1);
      close(fd);
      if (got <= 0) continue;
      name[got] = 0;
      name[strcspn(name, "\n")] = 0;
      if (strcmp(name, PORT_NAME) != 0) continue;
      snprintf(path, sizeof path, "/dev/vport%dp%d", device, port);
      return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    }
  }
  errno = ENOENT;
  return -1;
}

/* The port appears a moment after boot: the host names it by a control message. */
int control_open(struct harness *h) {
  int64_t deadline = now_ms() + PORT_WAIT_MS;
  struct timespec nap = {.tv_nsec = 2000000};
  while ((h->control = open_named_port()) < 0 && now_ms() < deadline) nanosleep(&nap, NULL);
  return h->control < 0 ? -1 : 0;
}

void control_write(struct harness *h) {
  const uint8_t *at;
  for (size_t length; (length = outbox_peek(&h->outbox, &at)) > 0;) {
    ssize_t written = write(h->control, at, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    outbox_consume(&h->outbox, (size_t)written);
  }
}

void control_drain(struct harness *h, int timeout_ms) {
  int64_t deadline = now_ms() + timeout_ms;
  for (;;) {
    control_write(h);
    int64_t left = deadline - now_ms();
    if (h->outbox.used == 0 || left <= 0) return;
    struct pollfd port = {.fd = h->control, .events = POLLOUT};
    if (poll(&port, 1, (int)left) > 0 && (port.revents & POLLHUP) != 0) return;
  }
}

void send_frame(struct harness *h, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t length) {
  if (outbox_put(&h->outbox, type, flags, stream, payload, length)) return;
  /* Only when the host has not read for a very long time: the reserve outlasts what all processes can say. */
  control_drain(h, 30000);
  if (!outbox_put(&h->outbox, type, flags, stream, payload, length)) die("the host does not read the control port");
}

void send_ok(struct harness *h, uint32_t stream) { send_frame(h, FRAME_OK, 0, stream, NULL, 0); }

void send_error(struct harness *h, uint32_t stream, const struct failure *failure) {
  uint8_t buffer[TEXT_SIZE + 64];
  struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
  const char *name = strerrorname_np(failure->number);
  tlv_put_text(&writer, 1, name != NULL ? name : "EIO");
  tlv_put_text(&writer, 2, failure->text);
  send_frame(h, FRAME_ERROR, 0, stream, buffer, writer.used);
}

void send_warning(struct harness *h, const char *format, ...) {
  char text[TEXT_SIZE];
  uint8_t buffer[TEXT_SIZE + 64];
  struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  tlv_put_u32(&writer, 1, 4);
  tlv_put_text(&writer, 3, text);
  if (outbox_free(&h->outbox) > OUTBOX_RESERVE / 2) send_frame(h, FRAME_EVENT, 0, 0, buffer, writer.used);
}

static uint64_t total_memory(void) {
  char line[256];
  unsigned long long kib = 0;
  FILE *file = fopen("/proc/meminfo", "re");
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "MemTotal: %llu kB", &kib) == 1) break;
  fclose(file);
  return kib * 1024;
}

void send_hello(struct harness *h) {
  uint8_t buffer[512];
  struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
  struct utsname system;
  tlv_put_u32(&writer, 1, PROTOCOL_VERSION);
  tlv_put_text(&writer, 2, HARNESS_VERSION);
  if (uname(&system) == 0) tlv_put_text(&writer, 3, system.release);
  tlv_put_u64(&writer, 4, total_memory());
  tlv_put_u32(&writer, 5, (uint32_t)get_nprocs());
  send_frame(h, FRAME_HELLO, 0, 0, buffer, writer.used);
}

static int set_clock(uint64_t nanoseconds, struct failure *failure) {
  struct timespec now = {.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000)};
  if (nanoseconds == 0 || clock_settime(CLOCK_REALTIME, &now) == 0) return 0;
  return fail(failure, errno, "set the clock");
}

static void on_boot(struct harness *h, const struct frame *frame) {
  struct failure failure = {0};
  struct arena arena = {0};
  struct boot_config config;
  if (h->phase != PHASE_WAITING) {
    fail(&failure, EALREADY, "boot");
    send_error(h, frame->stream, &failure);
    return;
  }
  const char *wrong = arena_open(&arena, frame->length) ? decode_boot(frame->payload, frame->length, &arena, &config)
                                                        : "out of memory";
  int result = wrong != NULL ? fail(&failure, EPROTO, "%s", wrong) : set_clock(config.clock_ns, &failure);
  if (result == 0) result = boot(h, &config, &failure);
  if (result == 0) h->phase = PHASE_RUNNING;
  if (result == 0 && config.process != NULL) result = spawn(h, frame->stream, config.process, true, &failure);
  else if (result == 0) send_ok(h, frame->stream);
  if (result < 0) send_error(h, frame->stream, &failure);
  arena_wipe(&arena);
}

static void on_exec(struct harness *h, const struct frame *frame) {
  struct failure failure = {0};
  struct arena arena = {0};
  struct process_spec spec;
  const char *wrong = arena_open(&arena, frame->length) ? decode_process(frame->payload, frame->length, &arena, &spec)
                                                        : "out of memory";
  int result = 0;
  if (wrong != NULL) result = fail(&failure, EPROTO, "%s", wrong);
  else if (h->phase != PHASE_RUNNING) result = fail(&failure, EAGAIN, "exec while %s", h->phase == PHASE_WAITING ? "not booted" : "stopping");
  else if (process_find(h, frame->stream) != NULL) result = fail(&failure, EEXIST, "stream %u", frame->stream);
  if (result == 0) result = spawn(h, frame->stream, &spec, false, &failure);
  if (result < 0) send_error(h, frame->stream, &failure);
  arena_wipe(&arena);
}

static void on_credit(struct process *process, const struct frame *frame) {
  if (frame->length != 4 || frame->flags < 1 || frame->flags > 2) return;
  struct output *output = &process->outputs[frame->flags - 1];
  uint32_t more = le32_get(frame->payload);
  output->credit = more > WINDOW_OUT - output->credit ? WINDOW_OUT : output->credit + more;
}

static void on_resize(struct process *process, const struct frame *frame) {
  if (frame->length != 8 || !process->tty || process->outputs[0].fd < 0) return;
  struct winsize size = {.ws_row = (uint16_t)le32_get(frame->payload), .ws_col = (uint16_t)le32_get(frame->payload + 4)};
  ioctl(process->outputs[0].fd, TIOCSWINSZ, &size);
}

static void on_process_frame(struct harness *h, const struct frame *frame) {
  struct process *process = process_find(h, frame->stream);
  /* It may have ended while the frame was on its way. */
  if (process == NULL) return;
  switch (frame->type) {
    case FRAME_SIGNAL:
      if (frame->length == 4 && process->pid > 0) kill(process->pid, (int)le32_get(frame->payload));
      break;
    case FRAME_RESIZE: on_resize(process, frame); break;
    case FRAME_STDIN:
      process_input(process, frame->payload, frame->length);
      process_write_input(h, process);
      break;
    case FRAME_STDIN_END:
      process->input_ended = true;
      process_write_input(h, process);
      process_end_if_done(h, process);
      break;
    default: on_credit(process, frame);
  }
}

static void on_clock(struct harness *h, const struct frame *frame) {
  struct tlv_reader reader = {frame->payload, frame->length};
  struct tlv field;
  uint64_t nanoseconds = 0;
  struct failure failure = {0};
  bool good = tlv_next(&reader, &field) > 0 && field.tag == 1 && tlv_u64(&field, &nanoseconds);
  if (!good) fail(&failure, EPROTO, "clock without a time");
  if (good && set_clock(nanoseconds, &failure) == 0) send_ok(h, frame->stream);
  else send_error(h, frame->stream, &failure);
}

static void on_shutdown(struct harness *h, const struct frame *frame) {
  struct tlv_reader reader = {frame->payload, frame->length};
  struct tlv field;
  uint32_t signal_number = SIGTERM, grace = 10000, how = 0;
  while (tlv_next(&reader, &field) > 0) {
    if (field.tag == 1) tlv_u32(&field, &signal_number);
    if (field.tag == 2) tlv_u32(&field, &grace);
    if (field.tag == 3) tlv_u32(&field, &how);
  }
  stop_begin(h, frame->stream, signal_number, grace, how);
}

static void dispatch(struct harness *h, const struct frame *frame) {
  switch (frame->type) {
    case FRAME_BOOT: on_boot(h, frame); break;
    case FRAME_EXEC: on_exec(h, frame); break;
    case FRAME_SIGNAL:
    case FRAME_RESIZE:
    case FRAME_STDIN:
    case FRAME_STDIN_END:
    case FRAME_CREDIT: on_process_frame(h, frame); break;
    case FRAME_STATS: stats_send(h, frame->stream); break;
    case FRAME_CLOCK: on_clock(h, frame); break;
    case FRAME_SYNC:
      sync();
      send_ok(h, frame->stream);
      break;
    case FRAME_SHUTDOWN: on_shutdown(h, frame); break;
    default: die("the host sent a frame of unknown type 0x%02x", frame->type);
  }
}

void control_read(struct harness *h) {
  uint8_t *at;
  size_t space = inbox_space(&h->inbox, &at);
  ssize_t got = read(h->control, at, space);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    if (h->host_present) h->host_lost_ms = now_ms();
    h->host_present = false;
    return;
  }
  h->inbox.have += (size_t)got;
  struct frame frame;
  int state;
  while ((state = inbox_next(&h->inbox, &frame)) > 0) {
    dispatch(h, &frame);
    inbox_done(&h->inbox, &frame);
  }
  if (state < 0) die("the host broke the protocol of the control port");
}
