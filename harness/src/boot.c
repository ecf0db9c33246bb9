#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

/* As Docker sets them for every container: unprivileged ping and low ports. Absent in a kernel without them. */
static void set_sysctls(struct harness *h) {
  static const char *const settings[][2] = {{"/proc/sys/net/ipv4/ping_group_range", "0 2147483647"},
                                            {"/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"}};
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    if (write_file(settings[i][0], settings[i][1]) < 0 && errno != ENOENT)
      send_warning(h, "write %s: %s", settings[i][0], strerror(errno));
}

/* The kernel's own defaults for the first process (4096 files, as many processes as little memory suggests) are from another
 * time; these are what a container gets. The soft limit of files stays 1024, for programs that use select(2). */
static void raise_limits(struct harness *h) {
  struct rlimit files = {1024, 524288}, processes = {RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_NPROC, &processes) < 0)
    send_warning(h, "raise resource limits: %s", strerror(errno));
}

/* Apps run in a cgroup of their own, whose memory.events and memory.stat are about them alone. */
static int open_cgroup(struct failure *failure) {
  if (write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids +cpu +io") < 0 &&
      write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory") < 0 && errno != ENOENT && errno != EINVAL)
    return fail(failure, errno, "enable cgroup controllers");
  if (mkdir("/sys/fs/cgroup/app", 0755) < 0 && errno != EEXIST) return fail(failure, errno, "make the app's cgroup");
  int fd = open("/sys/fs/cgroup/app/cgroup.procs", O_WRONLY | O_CLOEXEC);
  return fd >= 0 ? fd : fail(failure, errno, "open the app's cgroup");
}

/* A mount namespace whose root is the app's: ours, with the disks beneath the overlay, is not in it. Kept by descriptor. */
static int open_namespace(struct failure *failure) {
  int ready[2], done[2];
  if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(done, O_CLOEXEC) < 0) return fail(failure, errno, "make a pipe");
  pid_t pid = fork();
  if (pid < 0) return fail(failure, errno, "fork");
  if (pid == 0) {
    int number = 0;
    char byte;
    close(done[1]);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || chdir(APP_ROOT) < 0 ||
        syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
      number = errno;
    ssize_t ignored = write(ready[1], &number, sizeof number);
    ignored = read(done[0], &byte, 1);
    (void)ignored;
    _exit(0);
  }
  int number = EIO, fd = -1;
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
  close(done[0]);
  close(ready[1]);
  if (read(ready[0], &number, sizeof number) == (ssize_t)sizeof number && number == 0) {
    fd = open(path, O_RDONLY | O_CLOEXEC);
    number = errno;
  }
  close(ready[0]);
  close(done[1]);
  waitpid(pid, NULL, 0);
  return fd >= 0 ? fd : fail(failure, number, "make the app's mount namespace");
}

int boot(struct harness *h, const struct boot_config *config, struct failure *failure) {
  bool privileged = config->process != NULL && (config->process->flags & PROCESS_PRIVILEGED) != 0;
  struct etc_spec etc = {.hostname = config->hostname,
                         .network = config,
                         .hosts = config->hosts,
                         .host_count = config->host_count};
  if (sethostname(config->hostname, strlen(config->hostname)) < 0) return fail(failure, errno, "set the host name");
  set_sysctls(h);
  raise_limits(h);
  if (net_up(config, failure) < 0) return -1;
  h->network.has_network = config->has_network;
  h->network.dns_count = config->dns_count;
  memcpy(h->network.address, config->address, sizeof config->address);
  memcpy(h->network.dns, config->dns, sizeof config->dns);
  if ((h->cgroup_procs = open_cgroup(failure)) < 0) return -1;
  if (root_mount(h, config, failure) < 0) return -1;
  if (mounts_system(APP_ROOT, privileged, false, config->shm_size, failure) < 0) return -1;
  /* A build's root stays as the image has it: each step brings these files itself (sandbox.c). */
  if ((config->root_flags & ROOT_VOLATILE) == 0 && etc_write(APP_ROOT, WORK "/etc", &etc, failure) < 0) return -1;
  for (size_t i = 0; i < config->mount_count; i++)
    if (mounts_apply(h, APP_ROOT, &config->mounts[i], failure) < 0) return -1;
  if (files_place(APP_ROOT, WORK "/files", config->files, config->file_count, failure) < 0) return -1;
  if ((config->root_flags & ROOT_READ_ONLY) != 0 && mount(NULL, APP_ROOT, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
    return fail(failure, errno, "make the root read-only");
  if ((h->app_mounts = open_namespace(failure)) < 0) return -1;
  if (errorlog_prepare(config, failure) < 0) return -1;
  ports_prepare(h, config);
  h->helpers_due = true;
  return 0;
}
