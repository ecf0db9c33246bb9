/* What the host asks for, decoded: the boot configuration and process specifications. All strings live in one arena that is
 * wiped as a whole, because they hold secrets. No I/O in here: it compiles and is fuzzed on the host. */
#ifndef CONFIG_H
#define CONFIG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOWERS_MAX 8
#define DISKS_MAX 26
#define DNS_MAX 8
#define HOSTS_MAX 256
#define MOUNTS_MAX 128
#define FILES_MAX 256
#define PORTS_MAX 4096
#define GLOBS_MAX 32
#define LIMITS_MAX 16
#define EXTRA_GROUPS_MAX 64
#define POINTS_MAX 256
#define ARGUMENTS_MAX 65536

struct arena {
  char *base;
  size_t used, size;
};

enum mount_type { MOUNT_VIRTIOFS = 1, MOUNT_TMPFS = 2, MOUNT_DISK = 3, MOUNT_BIND = 4, MOUNT_SOCKET = 5 };
enum mount_flag { MOUNT_READ_ONLY = 1, MOUNT_COPY_UP = 2, MOUNT_DISCARD = 4, MOUNT_NOEXEC = 8 };

struct mount_spec {
  /* `disk` is the number of a socket for MOUNT_SOCKET. */
  uint32_t type, disk, flags, mode, uid, gid;
  uint64_t size;
  char *target;
  /* virtiofs tag, path on the disk, or path in the root. */
  char *source;
  /* Of a virtiofs, the one file in it that is wanted; NULL: all of it. */
  char *file;
};

enum file_flag { FILE_PERSISTENT = 1 };

struct file_spec {
  char *path, *owner;
  uint32_t mode, flags;
  const uint8_t *content;
  size_t length;
};

struct host_entry {
  char *address, *name;
};

struct limit_spec {
  uint32_t resource;
  uint64_t soft, hard;
};

enum sandbox_flag { SANDBOX_NO_NETWORK = 1, SANDBOX_INSECURE = 2 };

struct sandbox_spec {
  char *hostname;
  uint32_t flags;
  uint64_t shm_size;
  struct mount_spec *mounts;
  size_t mount_count;
  struct file_spec *files;
  size_t file_count;
  struct host_entry *hosts;
  size_t host_count;
};

enum process_flag { PROCESS_CREATE_CWD = 1, PROCESS_PRIVILEGED = 2 };

struct process_spec {
  char **argv, **env;
  size_t argc, envc;
  char *user, *cwd;
  bool tty;
  uint32_t rows, cols, flags;
  uint64_t capabilities;
  uint32_t groups[EXTRA_GROUPS_MAX];
  size_t group_count;
  struct limit_spec limits[LIMITS_MAX];
  size_t limit_count;
  struct sandbox_spec *sandbox;
};

struct port_spec {
  uint16_t port;
  bool udp;
};

struct lower_spec {
  uint32_t disk;
  /* Directory on the disk. */
  char *path;
};

struct point_spec {
  char *path;
  uint32_t directory;
};

struct glob_spec {
  char *glob;
  /* NULL: any line of failure. */
  char *field;
};

enum root_flag { ROOT_READ_ONLY = 1, ROOT_VOLATILE = 2 };

struct boot_config {
  char *hostname;
  uint64_t clock_ns, shm_size;
  struct lower_spec *lowers;
  size_t lower_count;
  struct point_spec *points;
  size_t point_count;
  uint32_t upper;
  bool has_upper;
  uint32_t root_flags;
  bool has_network;
  uint8_t address[4], gateway[4], dns[DNS_MAX][4];
  size_t dns_count;
  uint32_t prefix, mtu;
  struct host_entry *hosts;
  size_t host_count;
  struct mount_spec *mounts;
  size_t mount_count;
  struct file_spec *files;
  size_t file_count;
  struct port_spec *ports;
  size_t port_count;
  struct glob_spec *globs;
  size_t glob_count;
  struct process_spec *process;
};

/* Room for everything that a message of `length` bytes can decode to. False: no memory. */
bool arena_open(struct arena *arena, size_t length);
void arena_wipe(struct arena *arena);

/* NULL when all is well, else what is wrong. `bytes` must outlive the result: file contents point into it. */
const char *decode_boot(const uint8_t *bytes, size_t length, struct arena *arena, struct boot_config *config);
const char *decode_process(const uint8_t *bytes, size_t length, struct arena *arena, struct process_spec *process);
#endif
