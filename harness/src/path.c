#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"

#define LINKS_MAX 40 /* as many as the kernel follows (path_resolution(7)) */

int root_open(int root, const char *path, int flags) {
  struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root, path[0] != 0 ? path : "/", &how, sizeof how);
}

const char *fd_path(int fd, char buffer[32]) {
  snprintf(buffer, 32, "/proc/self/fd/%d", fd);
  return buffer;
}

static void remember(struct created_path **created, const char *path, int parent) {
  if (created == NULL) return;
  struct stat st;
  struct created_path *entry = malloc(sizeof *entry);
  if (entry == NULL) return;
  entry->path = strdup(path);
  if (entry->path == NULL || fstat(parent, &st) < 0) {
    free(entry->path);
    free(entry);
    return;
  }
  entry->parent_mtime.seconds = st.st_mtim.tv_sec;
  entry->parent_mtime.nanoseconds = st.st_mtim.tv_nsec;
  entry->next = *created; /* deepest first */
  *created = entry;
}

/* A dangling link is where the thing is to be made: replaces prefix/name/rest by what the link says. */
static int splice_link(int parent, const char *name, size_t prefix_length, const char *rest, char path[PATH_SIZE]) {
  char target[PATH_SIZE], joined[PATH_SIZE * 2 + 2];
  ssize_t length = readlinkat(parent, name, target, sizeof target - 1);
  if (length <= 0) return -1;
  target[length] = 0;
  int total = target[0] == '/' ? snprintf(joined, sizeof joined, "%s/%s", target, rest)
                               : snprintf(joined, sizeof joined, "%.*s/%s/%s", (int)prefix_length, path, target, rest);
  if (total < 0 || total >= PATH_SIZE) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(path, joined, (size_t)total + 1);
  return 0;
}

int root_make(int root, const char *wanted, bool directory, struct created_path **created) {
  char path[PATH_SIZE];
  if (strlen(wanted) >= sizeof path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(path, wanted);
  for (int links = 0; links <= LINKS_MAX; links++) {
    int there = root_open(root, path, O_PATH);
    if (there >= 0 || errno != ENOENT) return there;
    /* Walk down: the first component that is missing is made, or is a dangling link. */
    int parent = root_open(root, "/", O_PATH | O_DIRECTORY);
    bool spliced = false;
    size_t at = 0;
    while (parent >= 0 && !spliced) {
      size_t prefix = at;
      while (path[at] == '/') at++;
      if (path[at] == 0) break;
      char name[256];
      size_t length = strcspn(path + at, "/");
      if (length >= sizeof name) {
        close(parent);
        errno = ENAMETOOLONG;
        return -1;
      }
      memcpy(name, path + at, length);
      name[length] = 0;
      at += length;
      bool last = path[at + strspn(path + at, "/")] == 0;
      char saved = path[at];
      path[at] = 0;
      int next = root_open(root, path, last ? O_PATH : O_PATH | O_DIRECTORY);
      if (next < 0 && errno == ENOENT) {
        int made = last && !directory ? mknodat(parent, name, S_IFREG | 0644, 0) : mkdirat(parent, name, 0755);
        if (made == 0) {
          remember(created, path, parent);
          next = root_open(root, path, O_PATH);
        } else if (errno == EEXIST) {
          path[at] = saved;
          const char *rest = path + at + strspn(path + at, "/");
          char rest_copy[PATH_SIZE];
          strcpy(rest_copy, rest);
          if (splice_link(parent, name, prefix, rest_copy, path) == 0) spliced = true;
        }
      }
      int number = errno;
      if (!spliced) path[at] = saved;
      close(parent);
      parent = next;
      errno = number;
      if (parent >= 0 && last) return parent;
    }
    if (spliced) continue;
    if (parent < 0) return -1;
    return parent;
  }
  errno = ELOOP;
  return -1;
}

void root_unmake(int root, struct created_path *created) {
  while (created != NULL) {
    struct created_path *next = created->next;
    char *slash = strrchr(created->path, '/');
    struct stat st;
    if (slash != NULL) {
      *slash = 0;
      int parent = root_open(root, created->path, O_RDONLY | O_DIRECTORY);
      if (parent >= 0 && fstatat(parent, slash + 1, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        bool removed = S_ISDIR(st.st_mode)   ? unlinkat(parent, slash + 1, AT_REMOVEDIR) == 0
                       : S_ISREG(st.st_mode) ? st.st_size == 0 && unlinkat(parent, slash + 1, 0) == 0
                                             : false;
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {created->parent_mtime.seconds, created->parent_mtime.nanoseconds}};
        if (removed && futimens(parent, times) < 0) say("restore the time of %s: %s", created->path, strerror(errno));
      }
      if (parent >= 0) close(parent);
    }
    free(created->path);
    free(created);
    created = next;
  }
}
