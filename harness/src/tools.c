#include "tools.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BLOCK 512
#define NAME_MAX_BYTES (PATH_MAX * 4)
#define CMDLINE_MAX 4096

/* ustar (POSIX.1-1988), with GNU's prefix-less long names: what tar-stream and every tar read. */
struct header {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[8], owner[32], group[32], major[8],
      minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

static char buffer[1 << 16];

static int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int complain(const char *format, ...) {
  int number = errno;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, ": %s\n", strerror(number));
  return 1;
}

static bool put(const void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t count = write(1, (const char *)bytes + done, length - done);
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) done += (size_t)count;
  }
  return true;
}

static bool take(void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t count = read(0, (char *)bytes + done, length - done);
    if (count == 0) errno = EPIPE;
    if (count == 0 || (count < 0 && errno != EINTR)) return false;
    if (count > 0) done += (size_t)count;
  }
  return true;
}

/* Octal, or base 256 with the highest bit set (GNU) when that is too short. */
static void put_number(char *field, size_t width, uint64_t value) {
  if (value < 1ull << 3 * (width - 1)) {
    char digits[24];
    snprintf(digits, sizeof digits, "%0*llo", (int)width - 1, (unsigned long long)value);
    memcpy(field, digits, width - 1);
    return;
  }
  for (size_t i = width; i-- > 0; value >>= 8) field[i] = (char)value;
  field[0] |= (char)0x80;
}

static uint64_t number_in(const char *field, size_t width) {
  uint64_t value = 0;
  if ((field[0] & 0x80) != 0) {
    for (size_t i = 1; i < width; i++) value = value << 8 | (uint8_t)field[i];
    return value;
  }
  for (size_t i = 0; i < width && field[i] != 0; i++)
    if (field[i] >= '0' && field[i] <= '7') value = value * 8 + (uint64_t)(field[i] - '0');
  return value;
}

static unsigned sum_of(const struct header *header) {
  unsigned sum = 0;
  for (size_t i = 0; i < BLOCK; i++) {
    bool own = i >= offsetof(struct header, sum) && i < offsetof(struct header, type);
    sum += own ? ' ' : ((const uint8_t *)header)[i];
  }
  return sum;
}

static bool put_header(struct header *header) {
  memcpy(header->magic, "ustar\00000", 8);
  snprintf(header->sum, sizeof header->sum, "%06o", sum_of(header));
  header->sum[7] = ' ';
  return put(header, BLOCK);
}

static bool put_padding(uint64_t size) {
  static const char zeros[BLOCK];
  return size % BLOCK == 0 || put(zeros, BLOCK - size % BLOCK);
}

/* `field` holds what it can; the whole goes before the header when that is not all. */
static bool put_name(char field[100], const char *name, char type) {
  size_t length = strlen(name);
  memcpy(field, name, length < 100 ? length : 100);
  if (length <= 100) return true;
  struct header before = {.name = "././@LongLink", .type = type};
  put_number(before.size, sizeof before.size, length + 1);
  return put_header(&before) && put(name, length + 1) && put_padding(length + 1);
}

static bool put_content(int fd, uint64_t size) {
  for (uint64_t left = size; left > 0;) {
    size_t wanted = left < sizeof buffer ? (size_t)left : sizeof buffer;
    ssize_t got = read(fd, buffer, wanted);
    if (got < 0 && errno != EINTR) return false;
    /* It has become shorter meanwhile. */
    if (got == 0) memset(buffer, 0, (size_t)(got = (ssize_t)wanted));
    if (got > 0 && !put(buffer, (size_t)got)) return false;
    if (got > 0) left -= (uint64_t)got;
  }
  return put_padding(size);
}

static int pack(int parent, const char *name, const char *shown) {
  char target[PATH_MAX] = "", below[NAME_MAX_BYTES];
  struct header header = {0};
  struct stat st;
  int fd = -1, result = 1;
  if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return complain("%s", shown);
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)) return 0;
  if (S_ISLNK(st.st_mode) && readlinkat(parent, name, target, sizeof target - 1) < 0) return complain("%s", shown);
  if (!S_ISLNK(st.st_mode) && (fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) < 0) return complain("%s", shown);
  if ((size_t)snprintf(below, sizeof below, "%s%s", shown, S_ISDIR(st.st_mode) ? "/" : "") >= sizeof below) {
    errno = ENAMETOOLONG;
    goto failed;
  }
  uint64_t size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
  header.type = S_ISDIR(st.st_mode) ? '5' : S_ISLNK(st.st_mode) ? '2' : '0';
  put_number(header.mode, sizeof header.mode, st.st_mode & 07777);
  put_number(header.uid, sizeof header.uid, st.st_uid);
  put_number(header.gid, sizeof header.gid, st.st_gid);
  put_number(header.size, sizeof header.size, size);
  put_number(header.mtime, sizeof header.mtime, st.st_mtime > 0 ? (uint64_t)st.st_mtime : 0);
  if (!put_name(header.link, target, 'K') || !put_name(header.name, below, 'L') || !put_header(&header)) goto failed;
  if (S_ISREG(st.st_mode) && !put_content(fd, size)) goto failed;
  result = 0;
  if (S_ISDIR(st.st_mode)) {
    DIR *directory = fdopendir(fd);
    if (directory == NULL) goto failed;
    for (struct dirent *entry; result == 0 && (entry = readdir(directory)) != NULL;) {
      if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
      snprintf(below, sizeof below, "%s/%s", shown, entry->d_name);
      result = pack(fd, entry->d_name, below);
    }
    closedir(directory);
  } else if (fd >= 0) {
    close(fd);
  }
  return result;
failed:
  complain("%s", shown);
  if (fd >= 0) close(fd);
  return 1;
}

static int pack_all(const char *directory, const char *name) {
  static const char end[2 * BLOCK];
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return complain("%s", directory);
  int result = pack(fd, name, name);
  return result != 0 ? result : put(end, sizeof end) ? 0 : complain("write");
}

/* What a long header says of the entry after it. */
struct extended {
  char name[NAME_MAX_BYTES], link[NAME_MAX_BYTES];
  bool sized;
  uint64_t size;
};

static bool keep(char into[NAME_MAX_BYTES], const char *value, size_t length) {
  if (length >= NAME_MAX_BYTES) return false;
  memcpy(into, value, length);
  into[length] = 0;
  return true;
}

/* Records of "LENGTH KEY=VALUE\n" (POSIX.1-2001, pax). */
static bool read_pax(char *text, size_t length, struct extended *extended) {
  for (size_t at = 0; at < length;) {
    char *space;
    unsigned long record = strtoul(text + at, &space, 10);
    char *end = text + at + record;
    if (record == 0 || record > length - at || *space != ' ' || end[-1] != '\n') return false;
    char *equals = memchr(space, '=', (size_t)(end - space));
    if (equals == NULL) return false;
    size_t key = (size_t)(equals - space - 1), value = (size_t)(end - 1 - (equals + 1));
    bool good = true;
    if (key == 4 && memcmp(space + 1, "path", 4) == 0) good = keep(extended->name, equals + 1, value);
    if (key == 8 && memcmp(space + 1, "linkpath", 8) == 0) good = keep(extended->link, equals + 1, value);
    if (key == 4 && memcmp(space + 1, "size", 4) == 0) {
      extended->sized = true;
      extended->size = strtoull(equals + 1, NULL, 10);
    }
    if (!good) return false;
    at += record;
  }
  return true;
}

static bool skip(uint64_t size) {
  for (uint64_t left = (size + BLOCK - 1) / BLOCK * BLOCK; left > 0;) {
    size_t wanted = left < sizeof buffer ? (size_t)left : sizeof buffer;
    if (!take(buffer, wanted)) return false;
    left -= wanted;
  }
  return true;
}

static bool read_extended(char type, uint64_t size, struct extended *extended) {
  static char text[1 << 17];
  uint64_t padded = (size + BLOCK - 1) / BLOCK * BLOCK;
  errno = EBADMSG;
  if (padded >= sizeof text || !take(text, (size_t)padded)) return false;
  text[size] = 0;
  errno = EBADMSG;
  if (type == 'L') return keep(extended->name, text, strlen(text));
  if (type == 'K') return keep(extended->link, text, strlen(text));
  return read_pax(text, (size_t)size, extended);
}

static bool receive(int directory, const char *name, uint64_t size, mode_t mode) {
  unlinkat(directory, name, 0);
  int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return false;
  for (uint64_t left = size; left > 0;) {
    size_t wanted = left < sizeof buffer ? (size_t)left : sizeof buffer;
    if (!take(buffer, wanted)) goto failed;
    for (size_t done = 0; done < wanted;) {
      ssize_t count = write(fd, buffer + done, wanted - done);
      if (count < 0 && errno != EINTR) goto failed;
      if (count > 0) done += (size_t)count;
    }
    left -= wanted;
  }
  if (close(fd) < 0) return false;
  return size % BLOCK == 0 || take(buffer, BLOCK - size % BLOCK);
failed:
  close(fd);
  return false;
}

static void make_parents(int directory, char *name) {
  for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdirat(directory, name, 0755);
    *slash = '/';
  }
}

static bool place(int directory, const struct header *header, char *name, const char *link, uint64_t size) {
  mode_t mode = (mode_t)number_in(header->mode, sizeof header->mode) & 07777;
  dev_t device = makedev((unsigned)number_in(header->major, 8), (unsigned)number_in(header->minor, 8));
  struct stat st;
  bool directory_there = fstatat(directory, name, &st, 0) == 0 && S_ISDIR(st.st_mode);
  make_parents(directory, name);
  switch (header->type) {
    case '5':
      if (!directory_there && mkdirat(directory, name, 0700) < 0) return false;
      break;
    case '0':
    case '7':
    case 0:
      if (!receive(directory, name, size, 0600)) return false;
      break;
    case '1':
      unlinkat(directory, name, 0);
      return linkat(directory, link, directory, name, 0) == 0;
    case '2':
      unlinkat(directory, name, 0);
      if (symlinkat(link, directory, name) < 0) return false;
      break;
    case '3':
    case '4':
    case '6':
      unlinkat(directory, name, 0);
      if (mknodat(directory, name, header->type == '3' ? S_IFCHR : header->type == '4' ? S_IFBLK : S_IFIFO, device) < 0) return false;
      break;
    default: errno = ENOTSUP; return false;
  }
  struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = (time_t)number_in(header->mtime, sizeof header->mtime)}};
  uid_t uid = (uid_t)number_in(header->uid, sizeof header->uid);
  gid_t gid = (gid_t)number_in(header->gid, sizeof header->gid);
  if (fchownat(directory, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EPERM) return false;
  if (header->type != '2' && fchmodat(directory, name, mode, 0) < 0) return false;
  utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW);
  return true;
}

static int unpack(const char *path) {
  static struct extended extended;
  struct header header;
  int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return complain("%s", path);
  while (take(&header, BLOCK)) {
    if (header.name[0] == 0) {
      /* The end; whoever writes may still be at it. */
      while (read(0, buffer, sizeof buffer) > 0) continue;
      return 0;
    }
    errno = EBADMSG;
    if (number_in(header.sum, sizeof header.sum) != sum_of(&header)) return complain("the archive is damaged");
    uint64_t size = number_in(header.size, sizeof header.size);
    if (strchr("LKx", header.type) != NULL && header.type != 0) {
      if (!read_extended(header.type, size, &extended)) return complain("the archive has a header that is too long or damaged");
      continue;
    }
    if (header.type == 'g') {
      if (!skip(size)) return complain("the archive is cut short");
      continue;
    }
    char name[NAME_MAX_BYTES], link[NAME_MAX_BYTES];
    bool prefixed = memcmp(header.magic, "ustar\0", 6) == 0 && header.prefix[0] != 0;
    snprintf(name, sizeof name, "%.155s%s%.100s", prefixed ? header.prefix : "", prefixed ? "/" : "", header.name);
    snprintf(link, sizeof link, "%.100s", header.link);
    if (extended.name[0] != 0) strcpy(name, extended.name);
    if (extended.link[0] != 0) strcpy(link, extended.link);
    if (extended.sized) size = extended.size;
    memset(&extended, 0, sizeof extended);
    size_t length = strlen(name);
    while (length > 1 && name[length - 1] == '/') name[--length] = 0;
    if (!place(directory, &header, name, link, size)) return complain("%s", name);
  }
  return complain("the archive is cut short");
}

static bool show(const char *pid, const char *file, size_t most) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%.20s/%s", pid, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  for (ssize_t got; most > 0 && (got = read(fd, buffer, most < sizeof buffer ? most : sizeof buffer)) > 0; most -= (size_t)got)
    put(buffer, (size_t)got);
  close(fd);
  return true;
}

static int processes(const char *marker) {
  DIR *proc = opendir("/proc");
  if (proc == NULL) return complain("/proc");
  for (int round = 0; round < 2; round++) {
    rewinddir(proc);
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
      if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name)) continue;
      if (round == 0) {
        show(entry->d_name, "status", sizeof buffer);
        continue;
      }
      dprintf(1, "==> /proc/%s/cmdline <==\n", entry->d_name);
      show(entry->d_name, "cmdline", CMDLINE_MAX);
      put("\n", 1);
    }
    if (round == 0) dprintf(1, "%s\n", marker);
  }
  closedir(proc);
  return 0;
}

int tools_main(int argc, char **argv) {
  struct stat st;
  const char *tool = argc > 1 ? argv[1] : "";
  umask(0);
  if (strcmp(tool, "pack") == 0 && argc == 4) return pack_all(argv[2], argv[3]);
  if (strcmp(tool, "unpack") == 0 && argc == 3) return unpack(argv[2]);
  if (strcmp(tool, "is-directory") == 0 && argc == 3) return stat(argv[2], &st) == 0 && S_ISDIR(st.st_mode) ? 0 : 1;
  if (strcmp(tool, "processes") == 0 && argc == 3) return processes(argv[2]);
  fprintf(stderr, "the harness has no tool \"%s\"\n", tool);
  return 2;
}
