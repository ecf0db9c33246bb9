/* The parsers alone, for tests on the host. Reads standard input and prints what it was understood as:
 *   decode_main frames|boot|process          bytes of the control channel, or of one payload
 *   decode_main user SPEC PASSWD GROUP       who SPEC is by these files
 *   decode_main oom                          records of /dev/kmsg, one a line
 *   decode_main fuzz SEED ROUNDS             mutates the input and feeds it to all of them: must only not crash */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../src/config.h"
#include "../src/frames.h"
#include "../src/oom.h"
#include "../src/users.h"

static bool quiet;
#define SHOW(...) \
  do { \
    if (!quiet) printf(__VA_ARGS__); \
  } while (0)

static const char *or_none(const char *text) { return text != NULL ? text : "-"; }

static void show_mount(const struct mount_spec *m) {
  SHOW("mount %u %s %s disk=%u flags=%u size=%llu mode=%o owner=%u:%u\n", m->type, m->target, or_none(m->source), m->disk,
       m->flags, (unsigned long long)m->size, m->mode, m->uid, m->gid);
}

static void show_file(const struct file_spec *f) {
  SHOW("file %s %o %s flags=%u %.*s\n", f->path, f->mode, or_none(f->owner), f->flags, (int)f->length, (const char *)f->content);
}

static void show_process(const struct process_spec *p) {
  for (size_t i = 0; i < p->argc; i++) SHOW("arg %s\n", p->argv[i]);
  for (size_t i = 0; i < p->envc; i++) SHOW("env %s\n", p->env[i]);
  SHOW("user %s cwd %s caps %llx flags %u\n", or_none(p->user), p->cwd, (unsigned long long)p->capabilities, p->flags);
  for (size_t i = 0; i < p->group_count; i++) SHOW("group %u\n", p->groups[i]);
  if (p->tty) SHOW("tty %u %u\n", p->rows, p->cols);
  for (size_t i = 0; i < p->limit_count; i++)
    SHOW("limit %u %llx %llx\n", p->limits[i].resource, (unsigned long long)p->limits[i].soft,
         (unsigned long long)p->limits[i].hard);
  const struct sandbox_spec *s = p->sandbox;
  if (s == NULL) return;
  SHOW("sandbox %s flags=%u shm=%llu\n", or_none(s->hostname), s->flags, (unsigned long long)s->shm_size);
  for (size_t i = 0; i < s->mount_count; i++) show_mount(&s->mounts[i]);
  for (size_t i = 0; i < s->file_count; i++) show_file(&s->files[i]);
  for (size_t i = 0; i < s->host_count; i++) SHOW("host %s %s\n", s->hosts[i].address, s->hosts[i].name);
}

static void show_boot(const struct boot_config *c) {
  SHOW("hostname %s clock %llu shm %llu\n", c->hostname, (unsigned long long)c->clock_ns, (unsigned long long)c->shm_size);
  for (size_t i = 0; i < c->lower_count; i++) SHOW("lower %u %s\n", c->lowers[i].disk, c->lowers[i].path);
  for (size_t i = 0; i < c->point_count; i++) SHOW("point %s %u\n", c->points[i].path, c->points[i].directory);
  if (c->has_upper) SHOW("upper %u\n", c->upper);
  SHOW("root flags %u\n", c->root_flags);
  if (c->has_network)
    SHOW("network %u.%u.%u.%u/%u via %u.%u.%u.%u mtu %u\n", c->address[0], c->address[1], c->address[2], c->address[3],
         c->prefix, c->gateway[0], c->gateway[1], c->gateway[2], c->gateway[3], c->mtu);
  for (size_t i = 0; i < c->dns_count; i++) SHOW("dns %u.%u.%u.%u\n", c->dns[i][0], c->dns[i][1], c->dns[i][2], c->dns[i][3]);
  for (size_t i = 0; i < c->host_count; i++) SHOW("host %s %s\n", c->hosts[i].address, c->hosts[i].name);
  for (size_t i = 0; i < c->mount_count; i++) show_mount(&c->mounts[i]);
  for (size_t i = 0; i < c->file_count; i++) show_file(&c->files[i]);
  for (size_t i = 0; i < c->port_count; i++) SHOW("port %u/%s\n", c->ports[i].port, c->ports[i].udp ? "udp" : "tcp");
  for (size_t i = 0; i < c->glob_count; i++) SHOW("glob %s %s\n", c->globs[i].glob, or_none(c->globs[i].field));
  if (c->process != NULL) show_process(c->process);
}

static void try_boot(const uint8_t *bytes, size_t length) {
  struct arena arena = {0};
  struct boot_config config;
  if (!arena_open(&arena, length)) return;
  const char *wrong = decode_boot(bytes, length, &arena, &config);
  if (wrong != NULL) SHOW("refused: %s\n", wrong);
  else show_boot(&config);
  arena_wipe(&arena);
}

static void try_process(const uint8_t *bytes, size_t length) {
  struct arena arena = {0};
  struct process_spec process;
  if (!arena_open(&arena, length)) return;
  const char *wrong = decode_process(bytes, length, &arena, &process);
  if (wrong != NULL) SHOW("refused: %s\n", wrong);
  else show_process(&process);
  arena_wipe(&arena);
}

/* In pieces of 1000 bytes, as a port may give them. */
static void try_frames(const uint8_t *bytes, size_t length) {
  struct inbox *inbox = calloc(1, sizeof *inbox);
  struct frame frame;
  int state = 0;
  for (size_t at = 0; at < length && state >= 0;) {
    uint8_t *into;
    size_t space = inbox_space(inbox, &into), count = length - at < 1000 ? length - at : 1000;
    if (count > space) count = space;
    memcpy(into, bytes + at, count);
    inbox->have += count;
    at += count;
    while ((state = inbox_next(inbox, &frame)) > 0) {
      SHOW("frame %02x flags %u stream %u length %zu\n", frame.type, frame.flags, frame.stream, frame.length);
      if (frame.type == FRAME_BOOT) try_boot(frame.payload, frame.length);
      if (frame.type == FRAME_EXEC) try_process(frame.payload, frame.length);
      inbox_done(inbox, &frame);
    }
  }
  if (state < 0) SHOW("refused: frame\n");
  free(inbox->message);
  free(inbox);
}

static void try_user(const char *spec, int passwd, int group) {
  struct identity who;
  const char *missing = users_resolve(passwd, group, spec, &who);
  if (missing != NULL) {
    SHOW("no such %s\n", missing);
    return;
  }
  SHOW("uid %u gid %u home %s groups", who.uid, who.gid, who.home);
  for (int i = 0; i < who.group_count; i++) SHOW(" %u", who.groups[i]);
  SHOW("\n");
}

static void try_oom(const char *line) {
  struct oom_kill kill;
  if (oom_parse(line, &kill)) SHOW("killed %d %s %llu\n", (int)kill.pid, kill.name, (unsigned long long)kill.rss_bytes);
  else SHOW("nothing\n");
}

static int in_memory(const void *bytes, size_t length) {
  int fd = memfd_create("fuzz", 0);
  if (fd < 0 || write(fd, bytes, length) < 0) exit(2);
  lseek(fd, 0, SEEK_SET);
  return fd;
}

static void fuzz(const uint8_t *seed_bytes, size_t length, unsigned seed, int rounds) {
  uint8_t *bytes = malloc(length + 64);
  quiet = true;
  srand(seed);
  for (int round = 0; round < rounds; round++) {
    memcpy(bytes, seed_bytes, length);
    size_t used = length;
    for (int changes = 1 + rand() % 8; changes > 0 && used > 0; changes--) {
      size_t at = (size_t)rand() % used;
      switch (rand() % 5) {
        case 0: bytes[at] ^= (uint8_t)(1 << rand() % 8); break;
        case 1: bytes[at] = (uint8_t)rand(); break;
        case 2: bytes[at] = rand() % 2 != 0 ? 0xff : 0; break;
        case 3: used = at; break;
        default: memmove(bytes + at, bytes + at + 1, --used - at);
      }
    }
    /* At its exact size, so that a read beyond it is seen. */
    uint8_t *exact = malloc(used + 1);
    memcpy(exact, bytes, used);
    exact[used] = 0;
    try_frames(exact, used);
    try_boot(exact, used);
    try_process(exact, used);
    try_oom((const char *)exact);
    int passwd = in_memory(exact, used), group = in_memory(exact, used);
    try_user("app:web", passwd, group);
    close(passwd);
    close(group);
    free(exact);
  }
  free(bytes);
}

int main(int argc, char **argv) {
  static uint8_t input[16 << 20];
  const char *mode = argc > 1 ? argv[1] : "";
  if (strcmp(mode, "user") == 0 && argc == 5) {
    try_user(argv[2], open(argv[3], O_RDONLY), open(argv[4], O_RDONLY));
    return 0;
  }
  size_t length = fread(input, 1, sizeof input - 1, stdin);
  if (strcmp(mode, "frames") == 0) try_frames(input, length);
  else if (strcmp(mode, "boot") == 0) try_boot(input, length);
  else if (strcmp(mode, "process") == 0) try_process(input, length);
  else if (strcmp(mode, "oom") == 0)
    for (char *line = strtok((char *)input, "\n"); line != NULL; line = strtok(NULL, "\n")) try_oom(line);
  else if (strcmp(mode, "fuzz") == 0 && argc == 4) fuzz(input, length, (unsigned)atoi(argv[2]), atoi(argv[3]));
  else return 2;
  return 0;
}
