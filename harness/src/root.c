/* overlay(image disks, writable disk). The bottom layer is an empty skeleton on tmpfs that holds the mount points which no
 * image has (/proc, /etc/resolv.conf, ...): so they exist without ever being written to the writable disk. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define SKELETON WORK "/skeleton"
/* fs/ext4/ext4.h; not in the uapi headers. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#define DEVICE_WAIT_MS 5000

static void device_name(uint32_t disk, char name[16]) { snprintf(name, 16, "/dev/vd%c", (char)('a' + disk)); }

/* The kernel probes virtio disks asynchronously: right after boot one may still be on its way. */
static int mount_disk(uint32_t disk, const char *target, bool read_only, struct failure *failure) {
  char device[16];
  device_name(disk, device);
  int64_t deadline = now_ms() + DEVICE_WAIT_MS;
  while (access(device, F_OK) < 0 && now_ms() < deadline) {
    struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL);
  }
  if (mkdir(target, 0755) < 0 && errno != EEXIST) return fail(failure, errno, "make %s", target);
  unsigned long flags = read_only ? MS_RDONLY : 0;
  if (mount(device, target, "ext4", flags, NULL) < 0) return fail(failure, errno, "mount %s (ext4)", device);
  return 0;
}

/* The host makes a disk larger by extending its file; the filesystem follows here, mounted as it is. */
static void grow(struct harness *h, const char *device, const char *target) {
  struct statvfs fs;
  uint64_t bytes = 0;
  int device_fd = open(device, O_RDONLY | O_CLOEXEC);
  int target_fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (device_fd < 0 || target_fd < 0 || ioctl(device_fd, BLKGETSIZE64, &bytes) < 0 || fstatvfs(target_fd, &fs) < 0) {
    send_warning(h, "the size of %s can't be read: %s", device, strerror(errno));
    goto out;
  }
  uint64_t blocks = bytes / fs.f_frsize;
  /* f_blocks leaves out the filesystem's own tables; the kernel rounds to whole groups and says EINVAL to shrinking. */
  if (blocks > fs.f_blocks && ioctl(target_fd, EXT4_IOC_RESIZE_FS, &blocks) < 0 && errno != EINVAL)
    send_warning(h, "%s can't be grown to %llu bytes: %s", device, (unsigned long long)bytes, strerror(errno));
out:
  if (device_fd >= 0) close(device_fd);
  if (target_fd >= 0) close(target_fd);
}

static int make_skeleton(struct harness *h, const struct boot_config *config, struct failure *failure) {
  if (mkdir(SKELETON, 0755) < 0) return fail(failure, errno, "make " SKELETON);
  int root = open(SKELETON, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return fail(failure, errno, "open " SKELETON);
  static const char *const files[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/hostname"};
  static const char *const directories[] = {"/proc", "/sys", "/dev"};
  int result = 0;
  const struct sandbox_spec *sandbox = config->process != NULL ? config->process->sandbox : NULL;
  const struct {
    const struct mount_spec *mounts;
    size_t mount_count;
    const struct file_spec *files;
    size_t file_count;
  } sets[] = {{config->mounts, config->mount_count, config->files, config->file_count},
              {sandbox != NULL ? sandbox->mounts : NULL, sandbox != NULL ? sandbox->mount_count : 0,
               sandbox != NULL ? sandbox->files : NULL, sandbox != NULL ? sandbox->file_count : 0}};
#define MAKE(path, directory)                                                   \
  do {                                                                          \
    int fd_ = root_make(root, path, directory, NULL);                           \
    if (fd_ < 0) result = fail(failure, errno, "make the mount point %s", path); \
    else close(fd_);                                                            \
  } while (0)
  /* In a root for steps nothing stands on the host name, which is the image's own there, or missing. */
  size_t file_count = (config->root_flags & ROOT_VOLATILE) != 0 ? 2 : 3;
  for (size_t i = 0; i < file_count; i++) MAKE(files[i], false);
  for (size_t i = 0; i < 3; i++) MAKE(directories[i], true);
  for (size_t i = 0; i < config->point_count; i++) MAKE(config->points[i].path, config->points[i].directory != 0);
  for (size_t set = 0; set < 2 && result == 0; set++) {
    for (size_t i = 0; i < sets[set].mount_count && result == 0; i++) {
      const struct mount_spec *mount = &sets[set].mounts[i];
      /* Whether the source of a bind is a file is not known before the root is up. */
      if (mount->type == MOUNT_BIND) continue;
      int directory = mounts_directory(h, NULL, mount, failure);
      if (directory < 0) result = -1;
      else MAKE(mount->target, directory == 1);
    }
    for (size_t i = 0; i < sets[set].file_count; i++)
      if ((sets[set].files[i].flags & FILE_PERSISTENT) == 0) MAKE(sets[set].files[i].path, false);
  }
  close(root);
  return result;
}

/* A fresh upper directory would give the root directory its own owner, mode and time; it has those of the image. */
static int make_upper(const struct boot_config *config, const char *top_lower, struct failure *failure) {
  if (mkdir(UPPER "/work", 0700) < 0 && errno != EEXIST) return fail(failure, errno, "make the overlay's work directory");
  if (mkdir(UPPER "/upper", 0755) < 0) return errno == EEXIST ? 0 : fail(failure, errno, "make the overlay's upper directory");
  struct stat st;
  if (config->lower_count == 0) return 0;
  if (stat(top_lower, &st) < 0) return fail(failure, errno, "read the image's root directory");
  struct timespec times[2] = {st.st_atim, st.st_mtim};
  if (chown(UPPER "/upper", st.st_uid, st.st_gid) < 0 || chmod(UPPER "/upper", st.st_mode & 07777) < 0 ||
      utimensat(AT_FDCWD, UPPER "/upper", times, 0) < 0)
    return fail(failure, errno, "copy the root directory's attributes");
  return 0;
}

/* One layer of the overlay: its directory by descriptor, as a disk may hold links. */
static int mount_lower(const struct lower_spec *lower, const char *target, struct failure *failure) {
  if (mount_disk(lower->disk, target, true, failure) < 0) return -1;
  int disk = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = disk < 0 ? -1 : root_open(disk, lower->path, O_PATH | O_DIRECTORY);
  if (fd < 0) fail(failure, errno, "open %s on disk %u", lower->path, lower->disk);
  if (disk >= 0) close(disk);
  return fd;
}

static int mount_upper(struct harness *h, const struct boot_config *config, struct failure *failure) {
  if (!config->has_upper) {
    if (mkdir(UPPER, 0755) == 0 && mount("tmpfs", UPPER, "tmpfs", 0, "mode=0755") == 0) return 0;
    return fail(failure, errno, "mount tmpfs on " UPPER);
  }
  if (mount_disk(config->upper, UPPER, false, failure) < 0) return -1;
  device_name(config->upper, h->upper_device);
  h->upper_disk = config->upper;
  grow(h, h->upper_device, UPPER);
  return 0;
}

int root_mount(struct harness *h, const struct boot_config *config, struct failure *failure) {
  char options[1024] = "", target[64], top[32] = "", name[32];
  int lowers[LOWERS_MAX], result = -1;
  size_t opened = 0, used;
  if (make_skeleton(h, config, failure) < 0) return -1;
  for (; opened < config->lower_count; opened++) {
    snprintf(target, sizeof target, WORK "/lower%zu", opened);
    lowers[opened] = mount_lower(&config->lowers[opened], target, failure);
    if (lowers[opened] < 0) goto out;
    h->lowers_mounted++;
    fd_path(lowers[opened], top);
  }
  if (mount_upper(h, config, failure) < 0 || make_upper(config, top, failure) < 0) goto out;
  /* No redirects, no metadata-only copies: the upper directory is read back as a layer. */
  used = (size_t)snprintf(options, sizeof options, "redirect_dir=off,metacopy=off,index=off,upperdir=" UPPER
                                                   "/upper,workdir=" UPPER "/work,%slowerdir=",
                          (config->root_flags & ROOT_VOLATILE) != 0 ? "volatile," : "");
  for (size_t i = config->lower_count; i-- > 0;)
    used += (size_t)snprintf(options + used, sizeof options - used, "%s:", fd_path(lowers[i], name));
  snprintf(options + used, sizeof options - used, SKELETON);
  result = mount("overlay", APP_ROOT, "overlay", 0, options);
  if (result < 0) fail(failure, errno, "mount the overlay root");
out:
  for (size_t i = 0; i < opened; i++) close(lowers[i]);
  return result;
}

/* Read-only exactly when the device is: what a single mount of it may do is decided where it is bound. */
static bool device_read_only(uint32_t disk) {
  char device[16];
  int read_only = 0;
  device_name(disk, device);
  int fd = open(device, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  if (ioctl(fd, BLKROGET, &read_only) < 0) read_only = 0;
  close(fd);
  return read_only != 0;
}

int disk_mount(struct harness *h, uint32_t disk, char *at, size_t size, struct failure *failure) {
  if ((size_t)snprintf(at, size, WORK "/disk%u", disk) >= size) return fail(failure, ENAMETOOLONG, "name disk %u", disk);
  if ((h->disks_mounted & 1u << disk) != 0) return 0;
  bool read_only = device_read_only(disk);
  if (mount_disk(disk, at, read_only, failure) < 0) return -1;
  h->disks_mounted |= 1u << disk;
  if (!read_only) {
    char device[16];
    device_name(disk, device);
    grow(h, device, at);
  }
  return 0;
}

/* A mount namespace that has just died is torn down a moment later; until then its mounts keep the disk busy. */
static void unmount(const char *target) {
  for (int tries = 0; tries < 200; tries++) {
    if (umount2(target, 0) == 0 || errno == EINVAL || errno == ENOENT) return;
    struct timespec pause = {.tv_nsec = 5000000};
    nanosleep(&pause, NULL);
  }
  say("unmount %s: %s; made read-only instead", target, strerror(errno));
  if (mount(NULL, target, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0) say("remount %s: %s", target, strerror(errno));
}

/* Gives blocks of deleted files back to the host, whose file is sparse; disks without discard say no, and that's fine. */
static void trim(const char *target) {
  struct fstrim_range range = {.len = UINT64_MAX};
  int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ioctl(fd, FITRIM, &range);
  close(fd);
}

/* What is mounted below (and on) the app's root in our own namespace, topmost first. */
static void unmount_tree(const char *root) {
  for (int round = 0; round < 512; round++) {
    FILE *list = fopen("/proc/self/mounts", "re");
    char line[PATH_SIZE * 2], last[PATH_SIZE] = "";
    size_t length = strlen(root);
    while (list != NULL && fgets(line, sizeof line, list) != NULL) {
      char *start = strchr(line, ' ');
      if (start == NULL) continue;
      char *end = strchr(++start, ' ');
      if (end == NULL || (size_t)(end - start) >= sizeof last) continue;
      *end = 0;
      if (strncmp(start, root, length) == 0 && (start[length] == 0 || start[length] == '/')) strcpy(last, start);
    }
    if (list != NULL) fclose(list);
    if (last[0] == 0) return;
    /* Blanks and the like are written as \ooo (proc(5)). */
    char path[PATH_SIZE], *out = path;
    for (const char *in = last; *in != 0; in++) {
      if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] != 0 && in[3] != 0) {
        *out++ = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
        in += 3;
      } else {
        *out++ = *in;
      }
    }
    *out = 0;
    if (strcmp(path, root) == 0) unmount(path);
    else if (umount2(path, MNT_DETACH) < 0) return;
  }
}

void root_unmount(struct harness *h) {
  char target[64];
  unmount_tree(APP_ROOT);
  if (h->upper_device[0] != 0) {
    trim(UPPER);
    unmount(UPPER);
  }
  for (uint32_t disk = 0; disk < DISKS_MAX; disk++) {
    if ((h->disks_mounted & 1u << disk) == 0) continue;
    snprintf(target, sizeof target, WORK "/disk%u", disk);
    unmount(target);
  }
  for (uint32_t i = 0; i < h->lowers_mounted; i++) {
    snprintf(target, sizeof target, WORK "/lower%u", i);
    unmount(target);
  }
  sync();
}
