#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "users.h"

/* A bind mount becomes read-only by a second call, on what is there now. */
static int make_read_only(int root, const char *target) {
  char name[32];
  int fd = root_open(root, target, O_PATH);
  int result = fd < 0 ? -1 : mount(NULL, fd_path(fd, name), NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
  if (fd >= 0) close(fd);
  return result;
}

static int bind_file(const char *root, const char *source, const char *target, bool read_only,
                     struct failure *failure) {
  char name[32];
  int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) return fail(failure, errno, "open %s", root);
  int fd = root_make(root_fd, target, false, NULL);
  int result = fd < 0 ? -1 : mount(source, fd_path(fd, name), NULL, MS_BIND, NULL);
  if (result == 0 && read_only) result = make_read_only(root_fd, target);
  if (result < 0) fail(failure, errno, "mount a file on %s", target);
  if (fd >= 0) close(fd);
  close(root_fd);
  return result;
}

static FILE *create(const char *directory, const char *name, char path[PATH_SIZE], struct failure *failure) {
  snprintf(path, PATH_SIZE, "%s/%s", directory, name);
  FILE *file = fopen(path, "we");
  if (file == NULL) fail(failure, errno, "write %s", path);
  return file;
}

static int finish(FILE *file, const char *root, const char *path, const char *target, bool read_only,
                  struct failure *failure) {
  bool bad = ferror(file) != 0;
  if (fclose(file) != 0 || bad) return fail(failure, errno, "write %s", path);
  return bind_file(root, path, target, read_only, failure);
}

int etc_write(const char *root, const char *directory, const struct etc_spec *spec, struct failure *failure) {
  char path[PATH_SIZE];
  FILE *file = create(directory, "resolv.conf", path, failure);
  if (file == NULL) return -1;
  const struct boot_config *net = spec->network;
  for (size_t i = 0; net != NULL && i < net->dns_count; i++)
    fprintf(file, "nameserver %u.%u.%u.%u\n", net->dns[i][0], net->dns[i][1], net->dns[i][2], net->dns[i][3]);
  if (finish(file, root, path, "/etc/resolv.conf", spec->contained, failure) < 0) return -1;

  if ((file = create(directory, "hosts", path, failure)) == NULL) return -1;
  fprintf(file, "127.0.0.1\tlocalhost%s%s\n::1\tlocalhost ip6-localhost ip6-loopback\n", spec->contained ? " " : "",
          spec->contained ? spec->hostname : "");
  if (!spec->contained) {
    fputs("fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n", file);
    if (net != NULL && net->has_network)
      fprintf(file, "%u.%u.%u.%u\t%s\n", net->address[0], net->address[1], net->address[2], net->address[3],
              spec->hostname);
    else fprintf(file, "127.0.1.1\t%s\n", spec->hostname);
  }
  for (size_t i = 0; i < spec->host_count; i++) fprintf(file, "%s\t%s\n", spec->hosts[i].address, spec->hosts[i].name);
  if (finish(file, root, path, "/etc/hosts", spec->contained, failure) < 0) return -1;

  /* A step sees the image's own. */
  if (spec->contained) return 0;
  if ((file = create(directory, "hostname", path, failure)) == NULL) return -1;
  fprintf(file, "%s\n", spec->hostname);
  return finish(file, root, path, "/etc/hostname", false, failure);
}

static int regular_file(int root, const char *path) {
  struct stat st;
  int fd = root_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return -1;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) return fd;
  close(fd);
  return -1;
}

static int owner_of(int root, const struct file_spec *spec, struct identity *identity, struct failure *failure) {
  int passwd = regular_file(root, "/etc/passwd"), group = regular_file(root, "/etc/group");
  const char *missing = users_resolve(passwd, group, spec->owner != NULL ? spec->owner : "", identity);
  if (passwd >= 0) close(passwd);
  if (group >= 0) close(group);
  if (missing == NULL) return 0;
  return fail(failure, ENOENT, "the owner \"%s\" of %s has no such %s", spec->owner, spec->path, missing);
}

static int fill(int fd, const struct file_spec *spec, const struct identity *owner) {
  for (size_t done = 0; done < spec->length;) {
    ssize_t count = write(fd, spec->content + done, spec->length - done);
    if (count < 0) return -1;
    done += (size_t)count;
  }
  return fchown(fd, owner->uid, owner->gid) < 0 || fchmod(fd, spec->mode) < 0 ? -1 : 0;
}

/* Replaced in one step, so that a crash leaves the old or the new content. */
static int place_persistent(int root, const struct file_spec *spec, const struct identity *owner,
                            struct failure *failure) {
  char directory[PATH_SIZE], temporary[64];
  const char *slash = strrchr(spec->path, '/');
  if ((size_t)(slash - spec->path) >= sizeof directory || slash[1] == 0)
    return fail(failure, EINVAL, "write %s", spec->path);
  memcpy(directory, spec->path, (size_t)(slash - spec->path));
  directory[slash - spec->path] = 0;
  int made = root_make(root, directory, true, NULL);
  if (made >= 0) close(made);
  int parent = made < 0 ? -1 : root_open(root, directory, O_RDONLY | O_DIRECTORY);
  if (parent < 0) return fail(failure, errno, "make %s", directory);
  snprintf(temporary, sizeof temporary, ".aegis-%lld", (long long)now_ms());
  int fd = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  int result = fd < 0 || fill(fd, spec, owner) < 0 || fsync(fd) < 0 ? -1 : renameat(parent, temporary, parent, slash + 1);
  if (result < 0) {
    fail(failure, errno, "write %s", spec->path);
    unlinkat(parent, temporary, 0);
  }
  if (fd >= 0) close(fd);
  close(parent);
  return result;
}

int files_place(const char *root, const char *directory, const struct file_spec *files, size_t count,
                struct failure *failure) {
  int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) return fail(failure, errno, "open %s", root);
  int result = 0;
  for (size_t i = 0; i < count && result == 0; i++) {
    struct identity owner;
    char path[PATH_SIZE];
    result = owner_of(root_fd, &files[i], &owner, failure);
    if (result < 0) break;
    if ((files[i].flags & FILE_PERSISTENT) != 0) {
      result = place_persistent(root_fd, &files[i], &owner, failure);
      continue;
    }
    snprintf(path, sizeof path, "%s/%zu", directory, i);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    result = fd < 0 || fill(fd, &files[i], &owner) < 0 ? -1 : 0;
    if (result < 0) fail(failure, errno, "write %s", files[i].path);
    if (fd >= 0) close(fd);
    if (result == 0) result = bind_file(root, path, files[i].path, false, failure);
  }
  close(root_fd);
  return result;
}
