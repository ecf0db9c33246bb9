/* A build step's surroundings: the same view as in the container executor, whatever the machine around it looks like. The step is
 * PID 1 of its own pid, mount, ipc and uts namespaces (and net, without network), on the machine's root. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"

#define SANDBOX WORK "/sandbox"
#define PRIVATE WORK "/files"

/* A target below another one is made inside that mount, later. */
static bool below_another(const struct sandbox_spec *spec, const char *path) {
  for (size_t i = 0; i < spec->mount_count; i++) {
    size_t length = strlen(spec->mounts[i].target);
    if (strncmp(path, spec->mounts[i].target, length) == 0 && path[length] == '/') return true;
  }
  return false;
}

int sandbox_prepare(struct harness *h, uint32_t stream, const struct sandbox_spec *spec, struct created_path **created,
                    struct failure *failure) {
  int root = open(APP_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC), result = root < 0 ? -1 : 0;
  if (root < 0) return fail(failure, errno, "open the root");
  for (size_t i = 0; i < spec->mount_count && result == 0; i++) {
    /* Looked at here, so that a disk is mounted once, in our namespace, and unmounted in order at the end. */
    if (spec->mounts[i].type == MOUNT_SOCKET && forward_open(h, stream, &spec->mounts[i], failure) < 0) {
      result = -1;
      break;
    }
    int directory = mounts_directory(h, APP_ROOT, &spec->mounts[i], failure);
    if (directory < 0) result = -1;
    if (directory < 0 || below_another(spec, spec->mounts[i].target)) continue;
    int fd = root_make(root, spec->mounts[i].target, directory == 1, created);
    if (fd >= 0) close(fd);
    else result = fail(failure, errno, "make the mount point %s", spec->mounts[i].target);
  }
  for (size_t i = 0; i < spec->file_count && result == 0; i++) {
    if (below_another(spec, spec->files[i].path)) continue;
    int fd = root_make(root, spec->files[i].path, false, created);
    if (fd >= 0) close(fd);
    else result = fail(failure, errno, "make the mount point %s", spec->files[i].path);
  }
  close(root);
  return result;
}

void sandbox_clean(struct created_path *created) {
  int root = open(APP_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return;
  root_unmake(root, created);
  close(root);
}

static int assemble(struct harness *h, const struct process_spec *process, struct failure *failure) {
  const struct sandbox_spec *spec = process->sandbox;
  bool insecure = (spec->flags & SANDBOX_INSECURE) != 0;
  const char *hostname = spec->hostname != NULL ? spec->hostname : "sandbox";
  struct etc_spec etc = {
      .hostname = hostname, .contained = true, .network = &h->network, .hosts = spec->hosts, .host_count = spec->host_count};
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return fail(failure, errno, "make mounts private");
  if (sethostname(hostname, strlen(hostname)) < 0) return fail(failure, errno, "set the host name");
  if ((spec->flags & SANDBOX_NO_NETWORK) != 0 && net_up(NULL, failure) < 0) return -1;
  /* Only the overlay itself, without what the machine has mounted on it. */
  if (mount(APP_ROOT, SANDBOX, NULL, MS_BIND, NULL) < 0) return fail(failure, errno, "bind the root");
  if (mount("tmpfs", PRIVATE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700") < 0)
    return fail(failure, errno, "mount tmpfs on " PRIVATE);
  if (mounts_system(SANDBOX, insecure, true, spec->shm_size, failure) < 0) return -1;
  if (etc_write(SANDBOX, PRIVATE, &etc, failure) < 0) return -1;
  for (size_t i = 0; i < spec->mount_count; i++)
    if (mounts_apply(h, SANDBOX, &spec->mounts[i], failure) < 0) return -1;
  return files_place(SANDBOX, PRIVATE, spec->files, spec->file_count, failure);
}

int sandbox_enter(struct harness *h, const struct process_spec *process, struct start_error *error) {
  struct failure failure = {0};
  int result = assemble(h, process, &failure);
  if (result == 0 && (chdir(SANDBOX) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0))
    result = fail(&failure, errno, "enter the sandbox");
  if (result == 0) return 0;
  error->number = failure.number;
  snprintf(error->stage, sizeof error->stage, "sandbox");
  snprintf(error->path, sizeof error->path, "%s", failure.text);
  return -1;
}
