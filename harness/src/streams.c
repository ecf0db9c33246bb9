/* The standard streams of processes. Output is read only while the host has granted credit for that stream and the outbox has
 * room beyond its reserve; input waits in a window that the host never exceeds. So one slow reader stops nobody else. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "tlv.h"

#define END_OF_INPUT 0x04 /* what a terminal's line discipline takes for it (termios(3), VEOF) */

struct process *process_slot(struct harness *h) {
  for (int i = 0; i < PROCESSES_MAX; i++)
    if (!h->processes[i].used) return &h->processes[i];
  return NULL;
}

struct process *process_find(struct harness *h, uint32_t stream) {
  for (int i = 0; i < PROCESSES_MAX; i++)
    if (h->processes[i].used && h->processes[i].stream == stream) return &h->processes[i];
  return NULL;
}

static void close_input(struct process *process) {
  if (process->socket && process->input_fd >= 0) shutdown(process->input_fd, SHUT_WR);
  if (process->input_fd >= 0) close(process->input_fd);
  process->input_fd = -1;
  explicit_bzero(process->input, sizeof process->input);
  process->input_used = 0;
}

static void send_exit(struct harness *h, struct process *process, int status, const struct start_error *error) {
  uint8_t buffer[PATH_SIZE];
  struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
  bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  bool oom = (process->pid > 0 && h->oom_last_pid == process->pid) ||
             (h->oom_kills > process->ooms_before && (killed || (WIFEXITED(status) && WEXITSTATUS(status) == 137)));
  if (error != NULL) {
    uint8_t nested[PATH_SIZE - TLV_HEADER];
    struct tlv_writer inner = {.buffer = nested, .size = sizeof nested};
    const char *name = strerrorname_np(error->number);
    tlv_put_text(&inner, 1, name != NULL ? name : "EIO");
    tlv_put_text(&inner, 2, error->path);
    if (error->interpreter[0] != 0) tlv_put_text(&inner, 3, error->interpreter);
    tlv_put_text(&inner, 4, error->stage);
    tlv_put(&writer, 4, nested, inner.used);
  } else if (WIFSIGNALED(status)) {
    tlv_put_u32(&writer, 2, (uint32_t)WTERMSIG(status));
  } else {
    tlv_put_u32(&writer, 1, (uint32_t)WEXITSTATUS(status));
  }
  if (oom) tlv_put_u32(&writer, 3, 1);
  send_frame(h, FRAME_EXIT, 0, process->stream, buffer, writer.used);
}

static void end_output(struct harness *h, struct process *process, int channel) {
  struct output *output = &process->outputs[channel];
  if (output->ended) return;
  output->ended = true;
  send_frame(h, FRAME_OUTPUT_END, (uint8_t)(channel + 1), process->stream, NULL, 0);
}

static void close_output(struct harness *h, struct process *process, int channel) {
  struct output *output = &process->outputs[channel];
  if (output->fd >= 0) close(output->fd);
  output->fd = -1;
  end_output(h, process, channel);
}

/* The error pipe closed: the program runs, or its child wrote why it does not. */
void process_started(struct harness *h, struct process *process) {
  struct start_error error;
  ssize_t got = read(process->error_fd, &error, sizeof error);
  close(process->error_fd);
  process->error_fd = -1;
  process->starting = false;
  if (process->outputs[1].fd < 0) end_output(h, process, 1);
  if (got == (ssize_t)sizeof error) {
    error.path[sizeof error.path - 1] = error.interpreter[sizeof error.interpreter - 1] = 0;
    error.stage[sizeof error.stage - 1] = 0;
    process->exited = true;
    send_exit(h, process, 0, &error);
    return;
  }
  uint8_t buffer[32];
  struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
  tlv_put_u32(&writer, 1, (uint32_t)process->pid);
  send_frame(h, FRAME_OK, 0, process->stream, buffer, writer.used);
}

void process_reaped(struct harness *h, struct process *process, int status) {
  if (process->starting) process_started(h, process);
  process->pid = -1;
  forward_close(h, process->stream);
  sandbox_clean(process->created);
  process->created = NULL;
  if (!process->exited) {
    process->exited = true;
    send_exit(h, process, status, NULL);
  }
  close_input(process);
  /* What the process wrote is in the pipes by now; what its children go on writing is not waited for. */
  for (int channel = 0; channel < 2; channel++)
    if (process->outputs[channel].fd >= 0) process_read_output(h, process, channel);
  process_end_if_done(h, process);
}

/* A slot is free again when the process is reaped and nobody holds its pipes; until then its output is thrown away, so
 * that what it left in the background does not die of SIGPIPE. */
void process_end_if_done(struct harness *h, struct process *process) {
  if (process->socket) {
    if (process->outputs[0].fd >= 0 || process->input_fd >= 0) return;
    send_exit(h, process, 0, NULL);
    process->used = false;
    return;
  }
  if (process->pid > 0 || !process->exited || process->outputs[0].fd >= 0 || process->outputs[1].fd >= 0) return;
  close_input(process);
  process->used = false;
}

static bool may_read(const struct harness *h, const struct output *output) {
  return output->ended || (output->credit > 0 && outbox_free(&h->outbox) >= OUTBOX_RESERVE + FRAME_HEADER + DATA_CHUNK);
}

void process_read_output(struct harness *h, struct process *process, int channel) {
  static uint8_t chunk[DATA_CHUNK];
  struct output *output = &process->outputs[channel];
  for (int rounds = 0; rounds < 8 && output->fd >= 0 && may_read(h, output); rounds++) {
    size_t wanted = output->ended || output->credit > sizeof chunk ? sizeof chunk : output->credit;
    ssize_t got = read(output->fd, chunk, wanted);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      if (process->exited && process->pid < 0) end_output(h, process, channel);
      return;
    }
    /* EIO is how a terminal says that its last user is gone. */
    if (got <= 0) {
      close_output(h, process, channel);
      process_end_if_done(h, process);
      return;
    }
    if (output->ended) continue;
    output->credit -= (uint32_t)got;
    send_frame(h, FRAME_OUTPUT, (uint8_t)(channel + 1), process->stream, chunk, (size_t)got);
  }
}

static void grant_input(struct harness *h, struct process *process, size_t count) {
  uint8_t bytes[4];
  le32_put(bytes, (uint32_t)count);
  send_frame(h, FRAME_STDIN_CREDIT, 0, process->stream, bytes, sizeof bytes);
}

void process_input(struct process *process, const uint8_t *bytes, size_t length) {
  if (process->input_fd < 0) return;
  /* The host keeps to the window; more than that is dropped with the stream left as it is. */
  for (size_t i = 0; i < length && process->input_used < sizeof process->input; i++)
    process->input[(process->input_start + process->input_used++) % sizeof process->input] = bytes[i];
}

void process_write_input(struct harness *h, struct process *process) {
  while (process->input_fd >= 0 && process->input_used > 0) {
    size_t straight = sizeof process->input - process->input_start;
    size_t count = process->input_used < straight ? process->input_used : straight;
    ssize_t written = write(process->input_fd, process->input + process->input_start, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return;
    if (written < 0) {
      grant_input(h, process, process->input_used);
      close_input(process);
      return;
    }
    explicit_bzero(process->input + process->input_start, (size_t)written);
    process->input_start = (process->input_start + (size_t)written) % sizeof process->input;
    process->input_used -= (size_t)written;
    grant_input(h, process, (size_t)written);
  }
  if (!process->input_ended || process->input_fd < 0) return;
  if (process->tty) {
    uint8_t end = END_OF_INPUT;
    ssize_t ignored = write(process->input_fd, &end, 1);
    (void)ignored;
  }
  close_input(process);
}
