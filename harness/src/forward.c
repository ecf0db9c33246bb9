#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"
#include "tlv.h"

const char *forward_path(uint32_t number, char path[64]) {
  snprintf(path, 64, SOCKETS "/%u", number);
  return path;
}

int forward_open(struct harness *h, uint32_t owner, const struct mount_spec *mount, struct failure *failure) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  forward_path(mount->disk, address.sun_path);
  struct forward *forward = NULL;
  for (int i = 0; i < FORWARDS_MAX && forward == NULL; i++)
    if (h->forwards[i].listener < 0) forward = &h->forwards[i];
  if (forward == NULL) return fail(failure, EMFILE, "forward the socket at %s", mount->target);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  /* Nobody else is in that directory, so between bind and chmod nobody can connect. */
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      chown(address.sun_path, mount->uid, mount->gid) < 0 || chmod(address.sun_path, mount->mode) < 0 ||
      listen(fd, 16) < 0) {
    fail(failure, errno, "forward the socket at %s", mount->target);
    if (fd >= 0) close(fd);
    return -1;
  }
  *forward = (struct forward){.listener = fd, .number = mount->disk, .owner = owner};
  return 0;
}

void forward_accept(struct harness *h, struct forward *forward) {
  uint8_t number[4];
  int fd = accept4(forward->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  struct process *process = process_slot(h);
  int input = process == NULL ? -1 : dup(fd);
  if (input < 0) {
    close(fd);
    return;
  }
  memset(process, 0, sizeof *process);
  process->used = process->socket = true;
  process->stream = STREAM_OF_GUEST | h->next_connection++;
  process->pid = process->error_fd = -1;
  process->input_fd = input;
  process->outputs[0] = (struct output){.fd = fd, .credit = WINDOW_OUT};
  process->outputs[1] = (struct output){.fd = -1, .ended = true};
  le32_put(number, forward->number);
  send_frame(h, FRAME_CONNECT, 0, process->stream, number, sizeof number);
  send_frame(h, FRAME_OUTPUT_END, 2, process->stream, NULL, 0);
}

void forward_close(struct harness *h, uint32_t owner) {
  char path[64];
  for (int i = 0; i < FORWARDS_MAX; i++) {
    struct forward *forward = &h->forwards[i];
    if (forward->listener < 0 || forward->owner != owner) continue;
    close(forward->listener);
    unlink(forward_path(forward->number, path));
    forward->listener = -1;
  }
}
