/* From a process specification to a running program: pipes or a terminal, namespaces, identity, capabilities, exec. What can't
 * be started is told precisely (which path, which interpreter), because "not found" alone has cost people days. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "harness.h"
#include "users.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void wrong(struct start_error *error, const char *stage, int number, const char *path) {
  error->number = number;
  snprintf(error->stage, sizeof error->stage, "%s", stage);
  snprintf(error->path, sizeof error->path, "%.2000s", path);
}

static const char *variable(char *const *env, const char *name) {
  size_t length = strlen(name);
  for (; *env != NULL; env++)
    if (strncmp(*env, name, length) == 0 && (*env)[length] == '=') return *env + length + 1;
  return NULL;
}

/* An ENOENT or ENOEXEC of execve may be about the interpreter: the #! line's or the ELF file's. */
static void name_interpreter(const char *path, struct start_error *error) {
  union {
    char bytes[512];
    Elf64_Ehdr elf;
  } head = {0};
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  ssize_t got = read(fd, head.bytes, sizeof head.bytes - 1);
  if (got > 2 && head.bytes[0] == '#' && head.bytes[1] == '!') {
    char *start = head.bytes + 2 + strspn(head.bytes + 2, " \t");
    start[strcspn(start, " \t\r\n")] = 0;
    snprintf(error->interpreter, sizeof error->interpreter, "%.250s", start);
    /* A file written on Windows: the kernel looks for "/bin/sh\r". */
    if (memchr(head.bytes, '\r', (size_t)got) != NULL && strlen(start) < 200) strcat(error->interpreter, "\\r");
  } else if (got >= (ssize_t)sizeof head.elf && memcmp(head.elf.e_ident, ELFMAG, SELFMAG) == 0 &&
             head.elf.e_ident[EI_CLASS] == ELFCLASS64 && head.elf.e_phentsize == sizeof(Elf64_Phdr)) {
    for (unsigned i = 0; i < head.elf.e_phnum && i < 64; i++) {
      Elf64_Phdr segment;
      if (pread(fd, &segment, sizeof segment, (off_t)(head.elf.e_phoff + i * sizeof segment)) != sizeof segment) break;
      if (segment.p_type != PT_INTERP) continue;
      size_t size = segment.p_filesz < sizeof error->interpreter - 1 ? segment.p_filesz : sizeof error->interpreter - 1;
      if (pread(fd, error->interpreter, size, (off_t)segment.p_offset) < 0) error->interpreter[0] = 0;
      break;
    }
  }
  close(fd);
}

static void run_program(const struct process_spec *spec, char **env, struct start_error *error) {
  const char *program = spec->argv[0];
  if (strchr(program, '/') != NULL) {
    execve(program, spec->argv, env);
    wrong(error, "exec", errno, program);
    if (error->number == ENOENT || error->number == ENOEXEC) name_interpreter(program, error);
    return;
  }
  const char *search = variable(env, "PATH");
  if (search == NULL) search = DEFAULT_PATH;
  wrong(error, "exec", ENOENT, program);
  while (program[0] != 0) {
    char candidate[PATH_SIZE];
    size_t length = strcspn(search, ":");
    int total = snprintf(candidate, sizeof candidate, "%.*s/%s", (int)length, length > 0 ? search : ".", program);
    if (length == 0) total = snprintf(candidate, sizeof candidate, "./%s", program);
    struct stat st;
    if (total > 0 && (size_t)total < sizeof candidate && stat(candidate, &st) == 0 && !S_ISDIR(st.st_mode)) {
      execve(candidate, spec->argv, env);
      int number = errno;
      /* Not executable here may be executable further on. */
      if (number != EACCES) {
        wrong(error, "exec", number, candidate);
        if (number == ENOENT || number == ENOEXEC) name_interpreter(candidate, error);
        return;
      }
      wrong(error, "exec", number, candidate);
    }
    if (search[length] == 0) return;
    search += length + 1;
  }
}

static int open_regular(const char *path) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
    close(fd);
    return -1;
  }
  return fd;
}

static int make_directories(const char *path) {
  char copy[PATH_SIZE];
  if (strlen(path) >= sizeof copy) return errno = ENAMETOOLONG, -1;
  strcpy(copy, path);
  for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    if (mkdir(copy, 0755) < 0 && errno != EEXIST) return -1;
    *slash = '/';
  }
  return mkdir(copy, 0755) < 0 && errno != EEXIST ? -1 : 0;
}

static int enter_directory(const struct process_spec *spec) {
  if (chdir(spec->cwd) == 0) return 0;
  if (errno != ENOENT || (spec->flags & PROCESS_CREATE_CWD) == 0) return -1;
  return make_directories(spec->cwd) < 0 || chdir(spec->cwd) < 0 ? -1 : 0;
}

static int drop_capabilities(uint64_t keep) {
  for (unsigned capability = 0; capability < 64; capability++) {
    if (prctl(PR_CAPBSET_READ, capability) != 1) continue;
    if ((keep >> capability & 1) == 0 && prctl(PR_CAPBSET_DROP, capability) < 0) return -1;
  }
  return 0;
}

static int set_capabilities(uint64_t keep) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) < 0) return -1;
  for (int i = 0; i < 2; i++) {
    uint32_t mask = (uint32_t)(keep >> (32 * i));
    data[i].effective &= mask;
    data[i].permitted &= mask;
    data[i].inheritable = 0;
  }
  return (int)syscall(SYS_capset, &header, data);
}

static int become(const struct process_spec *spec, const struct identity *identity) {
  if (drop_capabilities(spec->capabilities) < 0) return -1;
  if (setgroups((size_t)identity->group_count, identity->groups) < 0) return -1;
  if (setresgid(identity->gid, identity->gid, identity->gid) < 0) return -1;
  if (setresuid(identity->uid, identity->uid, identity->uid) < 0) return -1;
  return set_capabilities(spec->capabilities);
}

void execute(const struct process_spec *spec, struct start_error *error) {
  struct identity identity;
  int passwd = open_regular("/etc/passwd"), group = open_regular("/etc/group");
  const char *missing = users_resolve(passwd, group, spec->user != NULL ? spec->user : "", &identity);
  if (missing != NULL) return wrong(error, missing, ENOENT, spec->user);
  if (spec->group_count > 0) {
    identity.group_count = (int)spec->group_count;
    memcpy(identity.groups, spec->groups, sizeof *spec->groups * spec->group_count);
  }
  for (size_t i = 0; i < spec->limit_count; i++) {
    struct rlimit limit = {spec->limits[i].soft, spec->limits[i].hard};
    if (setrlimit((__rlimit_resource_t)spec->limits[i].resource, &limit) < 0)
      return wrong(error, "limit", errno, "setrlimit");
  }
  umask(022);
  char home[HOME_SIZE + 8], **env = spec->env;
  if (variable(env, "HOME") == NULL) {
    snprintf(home, sizeof home, "HOME=%s", identity.home);
    env = malloc(sizeof *env * (spec->envc + 2));
    if (env == NULL) return wrong(error, "exec", ENOMEM, spec->argv[0]);
    memcpy(env, spec->env, sizeof *env * spec->envc);
    env[spec->envc] = home;
    env[spec->envc + 1] = NULL;
  }
  if (enter_directory(spec) < 0) return wrong(error, "cwd", errno, spec->cwd);
  if (become(spec, &identity) < 0) return wrong(error, "user", errno, spec->user != NULL ? spec->user : "root");
  run_program(spec, env, error);
}

struct pipes {
  /* [0] is read, [1] is written; -1 where there is none. */
  int input[2], output[2], errors[2], start[2];
};

static void close_all(struct pipes *pipes) {
  int *all[] = {pipes->input, pipes->output, pipes->errors, pipes->start};
  for (int i = 0; i < 4; i++)
    for (int end = 0; end < 2; end++)
      if (all[i][end] >= 0) close(all[i][end]);
}

/* The app's devpts instance; its slave is opened through the master, so no path of the guest's is trusted. */
static int open_terminal(const struct process_spec *spec, struct pipes *pipes, struct failure *failure) {
  struct winsize size = {.ws_row = (uint16_t)spec->rows, .ws_col = (uint16_t)spec->cols};
  int unlock = 0;
  int master = open(APP_ROOT "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (master < 0) return fail(failure, errno, "open a terminal");
  pipes->output[0] = master;
  if (ioctl(master, TIOCSPTLCK, &unlock) < 0 || ioctl(master, TIOCSWINSZ, &size) < 0)
    return fail(failure, errno, "set up a terminal");
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return fail(failure, errno, "open a terminal");
  pipes->input[0] = slave;
  pipes->input[1] = fcntl(master, F_DUPFD_CLOEXEC, 3);
  return pipes->input[1] < 0 ? fail(failure, errno, "open a terminal") : 0;
}

static int open_pipes(const struct process_spec *spec, struct pipes *pipes, struct failure *failure) {
  if (pipe2(pipes->start, O_CLOEXEC) < 0) return fail(failure, errno, "make a pipe");
  if (spec->tty) return open_terminal(spec, pipes, failure);
  if (pipe2(pipes->input, O_CLOEXEC) < 0 || pipe2(pipes->output, O_CLOEXEC) < 0 || pipe2(pipes->errors, O_CLOEXEC) < 0)
    return fail(failure, errno, "make a pipe");
  fcntl(pipes->input[1], F_SETFL, O_NONBLOCK);
  fcntl(pipes->output[0], F_SETFL, O_NONBLOCK);
  fcntl(pipes->errors[0], F_SETFL, O_NONBLOCK);
  return 0;
}

static void child(struct harness *h, const struct process_spec *spec, const struct pipes *pipes) {
  struct start_error error = {0};
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  int in = pipes->input[0], out = spec->tty ? in : pipes->output[1], err = spec->tty ? in : pipes->errors[1];
  if (spec->tty && ioctl(in, TIOCSCTTY, 0) < 0) wrong(&error, "sandbox", errno, "terminal");
  if (error.number == 0 && (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0))
    wrong(&error, "sandbox", errno, "standard streams");
  if (error.number == 0 && h->cgroup_procs >= 0 && write(h->cgroup_procs, "0", 1) < 0)
    wrong(&error, "sandbox", errno, "cgroup");
  if (error.number == 0) {
    if (spec->sandbox != NULL) sandbox_enter(h, spec, &error);
    else if (setns(h->app_mounts, CLONE_NEWNS) < 0) wrong(&error, "sandbox", errno, "mount namespace");
  }
  if (error.number == 0) execute(spec, &error);
  ssize_t ignored = write(pipes->start[1], &error, sizeof error);
  (void)ignored;
  _exit(127);
}

int spawn(struct harness *h, uint32_t stream, const struct process_spec *spec, bool app, struct failure *failure) {
  struct pipes pipes = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
  struct process *process = process_slot(h);
  if (process == NULL) return fail(failure, EAGAIN, "start a process: %d run already", PROCESSES_MAX);
  if (open_pipes(spec, &pipes, failure) < 0) {
    close_all(&pipes);
    return -1;
  }
  struct created_path *created = NULL;
  unsigned long flags = SIGCHLD;
  if (spec->sandbox != NULL) {
    flags |= CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    if ((spec->sandbox->flags & SANDBOX_NO_NETWORK) != 0) flags |= CLONE_NEWNET;
    if (sandbox_prepare(h, stream, spec->sandbox, &created, failure) < 0) {
      close_all(&pipes);
      forward_close(h, stream);
      sandbox_clean(created);
      return -1;
    }
  }
  /* fork() with namespaces: the sandboxed process is PID 1 of its own. */
  pid_t pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
  if (pid == 0) child(h, spec, &pipes);
  if (pid < 0) {
    fail(failure, errno, "start a process");
    close_all(&pipes);
    forward_close(h, stream);
    sandbox_clean(created);
    return -1;
  }
  memset(process, 0, sizeof *process);
  process->used = process->starting = true;
  process->stream = stream;
  process->pid = pid;
  process->app = app;
  process->tty = spec->tty;
  process->created = created;
  process->ooms_before = h->oom_kills;
  process->error_fd = pipes.start[0];
  process->input_fd = pipes.input[1];
  process->outputs[0] = (struct output){.fd = pipes.output[0], .credit = WINDOW_OUT};
  process->outputs[1] = (struct output){.fd = pipes.errors[0], .credit = WINDOW_OUT};
  pipes.start[0] = pipes.input[1] = pipes.output[0] = pipes.errors[0] = -1;
  close_all(&pipes);
  return 0;
}
