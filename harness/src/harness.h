/* The guest's PID 1. One state struct, one loop, one file a duty; PROTOCOL.md is the contract with the host. */
#ifndef HARNESS_H
#define HARNESS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "frames.h"

/* Everything of ours lives under this tmpfs directory; the app's mount namespace never sees it. */
#define WORK "/run/aegis"
#define UPPER WORK "/upper" /* where the upper disk is mounted */
#define APP_ROOT WORK "/root"

#define PROCESSES_MAX 64
#define FORWARDS_MAX 16
#define SOCKETS WORK "/sockets"
#define PATH_SIZE 4096
#define TEXT_SIZE 512

struct failure {
  int number; /* errno; 0 is no failure */
  char text[TEXT_SIZE];
};

/* What a child that could not start tells through its error pipe. */
struct start_error {
  int number;
  char stage[12]; /* sandbox, user, cwd, limit, exec */
  char path[PATH_SIZE / 2];
  char interpreter[256];
};

/* Mount points that did not exist in the root; removed again when the sandbox that needed them has ended. */
struct created_path {
  char *path;
  struct timespec_pair {
    int64_t seconds, nanoseconds;
  } parent_mtime;
  struct created_path *next;
};

struct output {
  int fd;
  uint32_t credit;
  bool ended;
};

struct process {
  /* `socket`: no process, but a connection of one to a socket of the host's. */
  bool used, starting, exited, stop_sent, input_ended, tty, app, socket;
  uint32_t stream;
  pid_t pid;
  int error_fd, input_fd;
  struct output outputs[2];
  uint8_t input[WINDOW_IN];
  size_t input_start, input_used;
  uint64_t ooms_before;
  struct created_path *created;
};

/* A socket of the host's in a sandbox: connections to it become streams. */
struct forward {
  int listener;
  uint32_t number, owner;
};

enum phase { PHASE_WAITING, PHASE_RUNNING, PHASE_STOPPING };

struct stopping {
  uint32_t request, how;
  int step;
  int64_t deadline_ms;
};

struct harness {
  enum phase phase;
  int control, signals, kernel_log, app_mounts, cgroup_procs;
  bool host_present, helpers_due;
  int64_t host_lost_ms;
  struct inbox inbox;
  struct outbox outbox;
  struct process processes[PROCESSES_MAX];
  struct stopping stopping;
  struct forward forwards[FORWARDS_MAX];
  uint32_t next_connection;
  /* Addresses and name servers, for sandboxes; no secrets in it. */
  struct boot_config network;
  uint64_t oom_kills;
  pid_t oom_last_pid;
  pid_t proxy_pid;
  int proxy_reports;
  int64_t proxy_started_ms;
  pid_t errorlog_pid;
  int errorlog_reports;
  size_t errorlog_have;
  struct port_spec *ports;
  size_t port_count;
  uint32_t disks_mounted; /* bit per disk under WORK/disk<N> */
  uint32_t lowers_mounted;
  uint32_t upper_disk, disks_full; /* a number, and bits as of disks_mounted */
  int64_t space_looked_ms;
  char upper_device[16];
};

/* log.c */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fail(struct failure *failure, int number, const char *format, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
int64_t now_ms(void);

/* Writes a whole small file; for /proc, /sys and the like. */
int write_file(const char *path, const char *text);

/* control.c: the port, messages in, replies and events out */
int control_open(struct harness *h);
void control_read(struct harness *h);
void control_write(struct harness *h);
/* Waits (bounded) until all is sent. */
void control_drain(struct harness *h, int timeout_ms);
void send_frame(struct harness *h, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t length);
void send_ok(struct harness *h, uint32_t stream);
void send_error(struct harness *h, uint32_t stream, const struct failure *failure);
void send_hello(struct harness *h);
void send_warning(struct harness *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* boot.c: everything between the boot configuration and the app's first instruction */
int boot(struct harness *h, const struct boot_config *config, struct failure *failure);

/* root.c: image disks, writable disk, overlay */
int root_mount(struct harness *h, const struct boot_config *config, struct failure *failure);
/* The mount point of a disk that is not part of the root; mounted at first use. */
int disk_mount(struct harness *h, uint32_t disk, char *at, size_t size, struct failure *failure);
void root_unmount(struct harness *h);

/* mounts.c */
int mounts_early(struct failure *failure);
/* /dev, /proc, /sys of a root at `root`. `contained`: as in the container executor, without cgroups, and, unless privileged, with
 * Docker's read-only and masked paths. */
int mounts_system(const char *root, bool privileged, bool contained, uint64_t shm_size, struct failure *failure);
/* Whether the mount point has to be a directory (1) or a file (0), by the source; -1: the source is not there. */
int mounts_directory(struct harness *h, const char *root, const struct mount_spec *mount, struct failure *failure);
int mounts_apply(struct harness *h, const char *root, const struct mount_spec *mount, struct failure *failure);

/* path.c: paths inside a root that somebody hostile wrote; nothing ever leads out of it */
int root_open(int root, const char *path, int flags);
/* Opens (O_PATH) what is at `path`, made as a directory or an empty file when it is missing, parents too. */
int root_make(int root, const char *path, bool directory, struct created_path **created);
/* Removes what root_make made, where it is still empty, and frees the list. */
void root_unmake(int root, struct created_path *created);
/* /proc/self/fd/N of an open file, for mount(2) and others that take paths. */
const char *fd_path(int fd, char buffer[32]);

/* etc.c: resolv.conf, hosts, hostname and files from the host, on tmpfs and bind-mounted: never on the disk */
struct etc_spec {
  const char *hostname;
  /* The host name stands beside localhost, as in the container executor; else it has the machine's address. */
  bool contained;
  const struct boot_config *network;
  const struct host_entry *hosts;
  size_t host_count;
};
int etc_write(const char *root, const char *directory, const struct etc_spec *spec, struct failure *failure);
int files_place(const char *root, const char *directory, const struct file_spec *files, size_t count,
                struct failure *failure);

/* copy.c */
int copy_up(int image, int volume, const char *what, struct failure *failure);

/* net.c */
int net_up(const struct boot_config *config, struct failure *failure);

/* sandbox.c */
/* Makes the mount points that the root lacks, remembering them. */
int sandbox_prepare(struct harness *h, uint32_t stream, const struct sandbox_spec *spec, struct created_path **created,
                    struct failure *failure);
void sandbox_clean(struct created_path *created);
/* In the child, inside its new namespaces. */
int sandbox_enter(struct harness *h, const struct process_spec *spec, struct start_error *error);

/* spawn.c */
int spawn(struct harness *h, uint32_t stream, const struct process_spec *spec, bool app, struct failure *failure);
/* Fills `error` and returns; does not return when all goes well. */
void execute(const struct process_spec *spec, struct start_error *error);

/* forward.c: sockets of the host's (an SSH agent) in a sandbox */
int forward_open(struct harness *h, uint32_t owner, const struct mount_spec *mount, struct failure *failure);
const char *forward_path(uint32_t number, char path[64]);
void forward_accept(struct harness *h, struct forward *forward);
/* The process whose sandbox they were in has ended. */
void forward_close(struct harness *h, uint32_t owner);

/* streams.c */
struct process *process_slot(struct harness *h);
struct process *process_find(struct harness *h, uint32_t stream);
void process_started(struct harness *h, struct process *process);
void process_reaped(struct harness *h, struct process *process, int status);
void process_input(struct process *process, const uint8_t *bytes, size_t length);
void process_write_input(struct harness *h, struct process *process);
void process_read_output(struct harness *h, struct process *process, int channel);
void process_end_if_done(struct harness *h, struct process *process);

/* kernel.c */
void kernel_log_open(struct harness *h);
void kernel_log_read(struct harness *h);

/* helper.c */
#define HELPER_REPORTS 3 /* where a helper finds its pipe; what it keeps follows */
#define HELPER_KEEPS 2
struct helper {
  const char *name;
  /* What the host is told of when it can't be started. */
  const char *without;
  /* Descriptors that stay open, -1 for none. */
  int keeps[HELPER_KEEPS];
  void (*run)(struct harness *h);
};
/* The helper's pid, with the pipe's reading end in `reports`; -1 after a warning. */
pid_t helper_start(struct harness *h, const struct helper *helper, int *reports);

/* ports.c: the proxy process beside us. It is started when the boot configuration, with its secrets, has been wiped: a fork copies
 * our memory. */
void ports_prepare(struct harness *h, const struct boot_config *config);
void ports_start(struct harness *h);
void ports_read(struct harness *h);
/* True when it was the proxy that ended; it is started again. */
bool ports_reaped(struct harness *h, pid_t pid);

/* errorlog.c: the process that follows the app's error logs; started as late as the proxy. What is written from `prepare` on is new. */
int errorlog_prepare(const struct boot_config *config, struct failure *failure);
void errorlog_start(struct harness *h);
void errorlog_read(struct harness *h);

/* space.c */
void space_look(struct harness *h);
/* Looks when it is time; milliseconds until it wants to be called again, -1: never. */
int space_watch(struct harness *h);

/* stop.c */
void stop_begin(struct harness *h, uint32_t request, uint32_t signal, uint32_t grace_ms, uint32_t how);
/* Milliseconds until it wants to be called again; -1: never. */
int stop_advance(struct harness *h);

/* stats.c */
void stats_send(struct harness *h, uint32_t request);

#endif
