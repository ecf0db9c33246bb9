/* Fills a new volume with what the image has where it is mounted, as Docker does: content, owners, modes, times, attributes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "harness.h"

#define DEPTH_MAX 64
#define BUCKETS 1024
#define ATTRIBUTES_MAX 4096
#define ATTRIBUTE_MAX 65536

/* Files with several names, by inode: the second name becomes a link to the first one's copy. */
struct linked {
  ino_t inode;
  dev_t device;
  char *path;
  struct linked *next;
};

struct copying {
  int volume;
  struct linked *buckets[BUCKETS];
};

static const char *first_copy(struct copying *copying, const struct stat *st, const char *path) {
  struct linked **bucket = &copying->buckets[st->st_ino % BUCKETS];
  for (const struct linked *entry = *bucket; entry != NULL; entry = entry->next)
    if (entry->inode == st->st_ino && entry->device == st->st_dev) return entry->path;
  struct linked *entry = malloc(sizeof *entry);
  if (entry == NULL) return NULL;
  *entry = (struct linked){.inode = st->st_ino, .device = st->st_dev, .path = strdup(path), .next = *bucket};
  if (entry->path != NULL) *bucket = entry;
  else free(entry);
  return NULL;
}

static void forget_links(struct copying *copying) {
  for (size_t i = 0; i < BUCKETS; i++) {
    for (struct linked *entry = copying->buckets[i], *next; entry != NULL; entry = next) {
      next = entry->next;
      free(entry->path);
      free(entry);
    }
  }
}

static int copy_attributes(int from, int to) {
  char names[ATTRIBUTES_MAX];
  static char value[ATTRIBUTE_MAX];
  ssize_t length = flistxattr(from, names, sizeof names);
  if (length < 0) return errno == ENOTSUP ? 0 : -1;
  for (const char *name = names; name < names + length; name += strlen(name) + 1) {
    if (strncmp(name, "trusted.", 8) == 0) continue; /* the overlay's own */
    ssize_t size = fgetxattr(from, name, value, sizeof value);
    if (size < 0 || fsetxattr(to, name, value, (size_t)size, 0) < 0) return -1;
  }
  return 0;
}

/* Owner first: changing it takes the set-user-ID bit away. */
static int copy_status(int to, const struct stat *st) {
  struct timespec times[2] = {st->st_atim, st->st_mtim};
  return fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0 || futimens(to, times) < 0 ? -1
                                                                                                                 : 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *st) {
  int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  int out = in < 0 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  int result = out < 0 ? -1 : 0;
  while (result == 0) {
    ssize_t count = sendfile(out, in, NULL, 1 << 20);
    if (count < 0) result = -1;
    if (count <= 0) break;
  }
  if (result == 0) result = copy_attributes(in, out) < 0 || copy_status(out, st) < 0 ? -1 : 0;
  if (in >= 0) close(in);
  if (out >= 0) close(out);
  return result;
}

static int copy_other(int from, int to, const char *name, const struct stat *st) {
  struct timespec times[2] = {st->st_atim, st->st_mtim};
  if (S_ISLNK(st->st_mode)) {
    char target[PATH_SIZE];
    ssize_t length = readlinkat(from, name, target, sizeof target - 1);
    if (length < 0) return -1;
    target[length] = 0;
    if (symlinkat(target, to, name) < 0) return -1;
  } else if (mknodat(to, name, st->st_mode, st->st_rdev) < 0 || fchmodat(to, name, st->st_mode & 07777, 0) < 0) {
    return -1;
  }
  return fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
                 utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0
             ? -1
             : 0;
}

static int copy_directory(struct copying *copying, int from, int to, const char *path, int depth) {
  struct stat st;
  char inner[PATH_SIZE];
  if (depth > DEPTH_MAX) return errno = ELOOP, -1;
  int listed = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = listed < 0 ? NULL : fdopendir(listed);
  if (directory == NULL) {
    if (listed >= 0) close(listed);
    return -1;
  }
  int result = 0;
  for (struct dirent *entry; result == 0 && (errno = 0, entry = readdir(directory)) != NULL;) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    result = fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW);
    if (result < 0) break;
    if (snprintf(inner, sizeof inner, "%s%s%s", path, path[0] != 0 ? "/" : "", name) >= (int)sizeof inner) {
      errno = ENAMETOOLONG;
      result = -1;
      break;
    }
    const char *first = st.st_nlink > 1 && !S_ISDIR(st.st_mode) ? first_copy(copying, &st, inner) : NULL;
    if (first != NULL) {
      result = linkat(copying->volume, first, to, name, 0);
      continue;
    }
    if (S_ISDIR(st.st_mode)) {
      int below = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      int made = below < 0 || mkdirat(to, name, 0700) < 0 ? -1 : openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      result = made < 0 ? -1 : copy_directory(copying, below, made, inner, depth + 1);
      if (below >= 0) close(below);
      if (made >= 0) close(made);
    } else {
      result = S_ISREG(st.st_mode) ? copy_file(from, to, name, &st) : copy_other(from, to, name, &st);
    }
  }
  int number = errno;
  closedir(directory);
  errno = number;
  if (result < 0) return -1;
  return fstat(from, &st) < 0 || copy_attributes(from, to) < 0 ? -1 : copy_status(to, &st);
}

static bool is_empty(int directory) {
  int listed = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = listed < 0 ? NULL : fdopendir(listed);
  if (list == NULL) return false;
  bool empty = true;
  for (struct dirent *entry; empty && (entry = readdir(list)) != NULL;)
    empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || strcmp(entry->d_name, "lost+found") == 0;
  closedir(list);
  return empty;
}

int copy_up(int image, int volume, const char *what, struct failure *failure) {
  /* Opened anew: the given ones may be O_PATH. */
  int from = openat(image, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int to = from < 0 ? -1 : openat(volume, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct copying copying = {.volume = to};
  int result = to < 0 ? -1 : is_empty(to) ? copy_directory(&copying, from, to, "", 0) : 0;
  if (result < 0) fail(failure, errno, "fill the volume at %s from the image", what);
  forget_links(&copying);
  if (from >= 0) close(from);
  if (to >= 0) close(to);
  return result;
}
