#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "harness.h"

#define SHM_DEFAULT (64u << 20) /* Docker's */

static int mount_here(const char *source, const char *target, const char *type, unsigned long flags, const char *data,
                      struct failure *failure) {
  if (mount(source, target, type, flags, data) == 0) return 0;
  return fail(failure, errno, "mount %s on %s", type != NULL ? type : source, target);
}

int mounts_early(struct failure *failure) {
  unsigned long plain = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount_here("proc", "/proc", "proc", plain, NULL, failure) < 0) return -1;
  if (mount_here("sysfs", "/sys", "sysfs", plain, NULL, failure) < 0) return -1;
  /* The kernel does this one itself when it mounts the root (CONFIG_DEVTMPFS_MOUNT). */
  if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL) < 0 && errno != EBUSY)
    return fail(failure, errno, "mount devtmpfs on /dev");
  if (mount_here("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700", failure) < 0) return -1;
  if (mount("cgroup2", "/sys/fs/cgroup", "cgroup2", plain, "nsdelegate") < 0)
    return fail(failure, errno, "mount cgroup2 on /sys/fs/cgroup");
  if (mkdir(WORK, 0700) < 0 || mkdir(APP_ROOT, 0755) < 0 || mkdir(WORK "/etc", 0755) < 0 ||
      mkdir(WORK "/files", 0700) < 0 || mkdir(WORK "/sandbox", 0755) < 0 || mkdir(SOCKETS, 0700) < 0)
    return fail(failure, errno, "make directories under " WORK);
  return 0;
}

static int at(char path[PATH_SIZE], const char *root, const char *name) {
  return snprintf(path, PATH_SIZE, "%s%s", root, name) < PATH_SIZE ? 0 : -1;
}

static const struct device {
  const char *name;
  unsigned major, minor;
  mode_t mode;
} devices[] = {{"null", 1, 3, 0666},   {"zero", 1, 5, 0666}, {"full", 1, 7, 0666}, {"random", 1, 8, 0666},
               {"urandom", 1, 9, 0666}, {"tty", 5, 0, 0666}};

static const char *const links[][2] = {{"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
                                       {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
                                       {"pts/ptmx", "ptmx"},          {"/proc/kcore", "core"}};

static int make_devices(const char *dev, struct failure *failure) {
  char path[PATH_SIZE];
  for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
    snprintf(path, sizeof path, "%s/%s", dev, devices[i].name);
    if (mknod(path, S_IFCHR | devices[i].mode, makedev(devices[i].major, devices[i].minor)) < 0 ||
        chmod(path, devices[i].mode) < 0)
      return fail(failure, errno, "make %s", path);
  }
  return 0;
}

/* `dev` is inside the fresh mount. */
static int fill_dev(const char *dev, bool privileged, uint64_t shm_size, struct failure *failure) {
  char path[PATH_SIZE], options[64];
  if (!privileged && make_devices(dev, failure) < 0) return -1;
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    snprintf(path, sizeof path, "%s/%s", dev, links[i][1]);
    /* devtmpfs has a ptmx of its own that works with the instance mounted at pts. */
    if (symlink(links[i][0], path) < 0 && errno != EEXIST) return fail(failure, errno, "make %s", path);
  }
  static const char *const directories[] = {"pts", "shm", "mqueue"};
  for (size_t i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%s", dev, directories[i]);
    if (mkdir(path, 0755) < 0 && errno != EEXIST) return fail(failure, errno, "make %s", path);
  }
  snprintf(path, sizeof path, "%s/pts", dev);
  if (mount_here("devpts", path, "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5", failure) < 0)
    return -1;
  snprintf(path, sizeof path, "%s/shm", dev);
  snprintf(options, sizeof options, "mode=1777,size=%llu", (unsigned long long)(shm_size > 0 ? shm_size : SHM_DEFAULT));
  if (mount_here("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options, failure) < 0) return -1;
  snprintf(path, sizeof path, "%s/mqueue", dev);
  if (mount("mqueue", path, "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 && errno != ENODEV)
    return fail(failure, errno, "mount mqueue on %s", path);
  return 0;
}

/* Docker's defaults (moby, oci/defaults.go). */
static const char *const masked_paths[] = {"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore",
                                           "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                                           "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
                                           "/sys/devices/virtual/powercap"};
static const char *const read_only_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

static int mask(const char *root, struct failure *failure) {
  char path[PATH_SIZE];
  struct stat st;
  for (size_t i = 0; i < sizeof masked_paths / sizeof *masked_paths; i++) {
    if (at(path, root, masked_paths[i]) < 0 || lstat(path, &st) < 0) continue;
    int result = S_ISDIR(st.st_mode) ? mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0")
                                     : mount("/dev/null", path, NULL, MS_BIND, NULL);
    if (result < 0) return fail(failure, errno, "mask %s", path);
  }
  for (size_t i = 0; i < sizeof read_only_paths / sizeof *read_only_paths; i++) {
    if (at(path, root, read_only_paths[i]) < 0 || lstat(path, &st) < 0) continue;
    if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0 ||
        mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
      return fail(failure, errno, "make %s read-only", path);
  }
  return 0;
}

static int open_in(const char *root, const char *path, struct failure *failure) {
  int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = root_fd < 0 ? -1 : root_open(root_fd, path, O_PATH);
  if (fd < 0) fail(failure, errno, "open %s", path);
  if (root_fd >= 0) close(root_fd);
  return fd;
}

/* A mount point inside the root, by descriptor: the root's own links can't lead the mount elsewhere. */
static int target_fd(const char *root, const char *target, bool directory, struct failure *failure) {
  int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) return fail(failure, errno, "open %s", root);
  int fd = root_make(root_fd, target, directory, NULL);
  int number = errno;
  close(root_fd);
  return fd >= 0 ? fd : fail(failure, number, "make the mount point %s", target);
}

int mounts_system(const char *root, bool privileged, bool contained, uint64_t shm_size, struct failure *failure) {
  unsigned long plain = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  unsigned long guarded = plain | (privileged ? 0 : MS_RDONLY);
  static const char *const points[] = {"/proc", "/sys", "/dev"};
  char name[32], path[PATH_SIZE];
  for (size_t i = 0; i < 3; i++) {
    int fd = target_fd(root, points[i], true, failure);
    if (fd < 0) return -1;
    fd_path(fd, name);
    int result = i == 0       ? mount_here("proc", name, "proc", plain, NULL, failure)
                 : i == 1     ? mount_here("sysfs", name, "sysfs", guarded, NULL, failure)
                 : privileged ? mount_here("devtmpfs", name, "devtmpfs", MS_NOSUID, NULL, failure)
                              : mount_here("tmpfs", name, "tmpfs", MS_NOSUID | MS_STRICTATIME,
                                           "mode=0755,size=65536k", failure);
    close(fd);
    if (result < 0) return -1;
    if (i == 1 && !contained && at(path, root, "/sys/fs/cgroup") == 0 &&
        mount("cgroup2", path, "cgroup2", guarded, NULL) < 0)
      return fail(failure, errno, "mount cgroup2 on %s", path);
  }
  /* Opened anew: the descriptor from before names what the mount covers. */
  int dev = open_in(root, "/dev", failure);
  if (dev < 0) return -1;
  int result = fill_dev(fd_path(dev, name), privileged, shm_size, failure);
  close(dev);
  return result == 0 && contained && !privileged ? mask(root, failure) : result;
}

static int bind_fd(int source, int target, unsigned long flags, struct failure *failure, const char *what) {
  char from[32], to[32];
  if (mount(fd_path(source, from), fd_path(target, to), NULL, MS_BIND | MS_REC, NULL) < 0)
    return fail(failure, errno, "bind on %s", what);
  return flags == 0 ? 0 : 1;
}

/* The descriptor still names what was under the mount: a remount needs the mount's own root. */
static int remount(const char *root, const char *target, unsigned long flags, struct failure *failure) {
  char name[32];
  int fd = open_in(root, target, failure);
  if (fd < 0) return -1;
  int result = mount(NULL, fd_path(fd, name), NULL, MS_REMOUNT | MS_BIND | flags, NULL);
  if (result < 0) fail(failure, errno, "make %s read-only", target);
  close(fd);
  return result;
}

/* Writable for whoever mounts it, and nothing of what is written stays (BuildKit's bind mounts with rw). */
static int mount_discarding(int source, int target, const char *what, struct failure *failure) {
  char directory[] = WORK "/discard.XXXXXX", from[32], to[32], options[256], upper[64], work[64];
  if (mkdtemp(directory) == NULL) return fail(failure, errno, "make a scratch directory");
  if (mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0)
    return fail(failure, errno, "mount tmpfs for %s", what);
  snprintf(upper, sizeof upper, "%s/upper", directory);
  snprintf(work, sizeof work, "%s/work", directory);
  if (mkdir(upper, 0755) < 0 || mkdir(work, 0755) < 0) return fail(failure, errno, "make %s", upper);
  snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", fd_path(source, from), upper, work);
  if (mount("overlay", fd_path(target, to), "overlay", 0, options) < 0)
    return fail(failure, errno, "mount overlay on %s", what);
  return 0;
}

/* A directory of a writable disk that is used for the first time. */
static int make_directory(int root, const struct mount_spec *spec) {
  char path[32];
  int fd = root_make(root, spec->source, true, NULL);
  if (fd < 0 || spec->mode == 0) return fd;
  if (chown(fd_path(fd, path), spec->uid, spec->gid) == 0 && chmod(path, spec->mode) == 0) return fd;
  int number = errno;
  close(fd);
  errno = number;
  return -1;
}

static int mount_source(struct harness *h, const char *root, const struct mount_spec *spec, struct failure *failure) {
  char base[PATH_SIZE];
  if (spec->type == MOUNT_DISK) {
    if (disk_mount(h, spec->disk, base, sizeof base, failure) < 0) return -1;
    root = base;
  }
  int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) return fail(failure, errno, "open %s", root);
  int fd = root_open(root_fd, spec->source, O_PATH);
  if (fd < 0 && errno == ENOENT && spec->type == MOUNT_DISK && (spec->flags & (MOUNT_READ_ONLY | MOUNT_DISCARD)) == 0)
    fd = make_directory(root_fd, spec);
  int number = errno;
  close(root_fd);
  return fd >= 0 ? fd : fail(failure, number, "open the mount source %s", spec->source);
}

int mounts_directory(struct harness *h, const char *root, const struct mount_spec *spec, struct failure *failure) {
  struct stat st;
  if (spec->type == MOUNT_SOCKET || spec->file != NULL) return 0;
  if (spec->type != MOUNT_DISK && spec->type != MOUNT_BIND) return 1;
  int source = mount_source(h, root, spec, failure);
  if (source < 0) return -1;
  int result = fstat(source, &st) < 0 ? fail(failure, errno, "look at %s", spec->source) : S_ISDIR(st.st_mode);
  close(source);
  return result;
}

/* One file of a share, which is mounted elsewhere for as long as it takes to bind that file. Always writable as far as we are
 * concerned: a second mount of it with other flags would be refused. */
static int mount_shared_file(const struct mount_spec *spec, int target, unsigned long flags, struct failure *failure) {
  char directory[] = WORK "/share.XXXXXX";
  int share = -1, file = -1, result = -1;
  if (mkdtemp(directory) == NULL) return fail(failure, errno, "make a mount point for the share %s", spec->source);
  if (mount(spec->source, directory, "virtiofs", MS_NOSUID | MS_NODEV, NULL) < 0) {
    fail(failure, errno, "mount the share %s for %s", spec->source, spec->target);
    goto out;
  }
  share = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  file = share < 0 ? -1 : root_open(share, spec->file, O_PATH);
  if (file < 0) fail(failure, errno, "open the file for %s in the share %s", spec->target, spec->source);
  else result = bind_fd(file, target, flags, failure, spec->target);
  if (file >= 0) close(file);
  if (share >= 0) close(share);
  umount2(directory, MNT_DETACH);
out:
  rmdir(directory);
  return result;
}

int mounts_apply(struct harness *h, const char *root, const struct mount_spec *spec, struct failure *failure) {
  unsigned long flags = (spec->flags & MOUNT_READ_ONLY ? MS_RDONLY : 0) | (spec->flags & MOUNT_NOEXEC ? MS_NOEXEC : 0);
  char name[32], options[128];
  struct stat st;
  int source = -1, target = -1, result = -1;
  if (spec->type == MOUNT_DISK || spec->type == MOUNT_BIND) {
    source = mount_source(h, root, spec, failure);
    if (source < 0) return -1;
    if (fstat(source, &st) < 0) goto out;
  } else {
    st.st_mode = spec->type == MOUNT_SOCKET ? S_IFSOCK : spec->file != NULL ? S_IFREG : S_IFDIR;
  }
  target = target_fd(root, spec->target, S_ISDIR(st.st_mode), failure);
  if (target < 0) goto out;
  switch (spec->type) {
    case MOUNT_VIRTIOFS:
      if (spec->file != NULL) {
        result = mount_shared_file(spec, target, flags, failure);
        if (result == 1) result = remount(root, spec->target, flags | MS_NOSUID | MS_NODEV, failure);
        break;
      }
      result = mount_here(spec->source, fd_path(target, name), "virtiofs", flags | MS_NOSUID | MS_NODEV, NULL, failure);
      if (result < 0) fail(failure, errno, "mount the share %s on %s", spec->source, spec->target);
      break;
    case MOUNT_TMPFS: {
      int used = snprintf(options, sizeof options, "mode=%o,uid=%u,gid=%u", spec->mode != 0 ? spec->mode : 01777,
                          spec->uid, spec->gid);
      if (spec->size > 0)
        snprintf(options + used, sizeof options - (size_t)used, ",size=%llu", (unsigned long long)spec->size);
      result = mount_here("tmpfs", fd_path(target, name), "tmpfs", flags | MS_NOSUID | MS_NODEV, options, failure);
      break;
    }
    case MOUNT_SOCKET:
      result = mount(forward_path(spec->disk, options), fd_path(target, name), NULL, MS_BIND, NULL);
      if (result < 0) fail(failure, errno, "mount a socket on %s", spec->target);
      break;
    default:
      if ((spec->flags & MOUNT_DISCARD) != 0 && S_ISDIR(st.st_mode)) {
        result = mount_discarding(source, target, spec->target, failure);
        break;
      }
      if ((spec->flags & MOUNT_COPY_UP) != 0 && S_ISDIR(st.st_mode) && copy_up(target, source, spec->target, failure) < 0)
        break;
      result = bind_fd(source, target, flags, failure, spec->target);
      if (result == 1) result = remount(root, spec->target, flags, failure);
  }
out:
  if (source >= 0) close(source);
  if (target >= 0) close(target);
  return result;
}
