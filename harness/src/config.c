#include "config.h"

#include <string.h>
#include <sys/mman.h>

#include "tlv.h"

#define FIELD_LOOP(reader, field)    \
  struct tlv field;                  \
  struct tlv_reader rest_ = (reader); \
  int state_;                        \
  while ((state_ = tlv_next(&rest_, &field)) > 0)
#define MUST(condition, message) \
  do {                           \
    if (!(condition)) return message; \
  } while (0)
#define LOOP_ENDED(message) MUST(state_ == 0, message)

bool arena_open(struct arena *arena, size_t length) {
  /* Strings gain a NUL each, and a field of 6 bytes can become a struct: 32 times covers the worst of both. */
  size_t size = (length * 32 + 65536 + 4095) & ~(size_t)4095;
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return false;
  *arena = (struct arena){.base = base, .size = size};
  return true;
}

void arena_wipe(struct arena *arena) {
  if (arena->base == NULL) return;
  explicit_bzero(arena->base, arena->used);
  munmap(arena->base, arena->size);
  *arena = (struct arena){0};
}

static void *take(struct arena *arena, size_t size) {
  size_t start = (arena->used + 15) & ~(size_t)15;
  if (start > arena->size || size > arena->size - start) return NULL;
  arena->used = start + size;
  return arena->base + start;
}

static bool text(struct arena *arena, const struct tlv *field, char **out) {
  if (field->length > 0 && memchr(field->value, 0, field->length) != NULL) return false;
  char *copy = take(arena, (size_t)field->length + 1);
  if (copy == NULL) return false;
  if (field->length > 0) memcpy(copy, field->value, field->length);
  copy[field->length] = 0;
  *out = copy;
  return true;
}

/* Counts the fields with `tag`, so that arrays are taken once, at their size. */
static size_t count(struct tlv_reader reader, uint16_t tag) {
  struct tlv field;
  size_t found = 0;
  while (tlv_next(&reader, &field) > 0) found += field.tag == tag;
  return found;
}

static bool flags_or(const struct tlv *field, uint32_t *flags) {
  uint32_t value;
  if (!tlv_u32(field, &value)) return false;
  *flags |= value;
  return true;
}

static const char *decode_mount(struct tlv_reader reader, struct arena *arena, struct mount_spec *mount) {
  *mount = (struct mount_spec){0};
  FIELD_LOOP(reader, field) {
    bool good = true;
    switch (field.tag) {
      case 1: good = tlv_u32(&field, &mount->type); break;
      case 2: good = text(arena, &field, &mount->target); break;
      case 3: good = text(arena, &field, &mount->source); break;
      case 4: good = tlv_u32(&field, &mount->disk); break;
      case 5: good = flags_or(&field, &mount->flags); break;
      case 6: good = tlv_u64(&field, &mount->size); break;
      case 7: good = tlv_u32(&field, &mount->mode) && mount->mode <= 07777; break;
      case 8: good = tlv_u32(&field, &mount->uid); break;
      case 9: good = tlv_u32(&field, &mount->gid); break;
      case 10: good = text(arena, &field, &mount->file); break;
      default: break;
    }
    MUST(good, "a mount has a bad field");
  }
  LOOP_ENDED("a mount is cut short");
  MUST(mount->type >= MOUNT_VIRTIOFS && mount->type <= MOUNT_SOCKET, "a mount has an unknown type");
  MUST(mount->target != NULL && mount->target[0] == '/', "a mount has no absolute target");
  MUST(mount->type == MOUNT_TMPFS || mount->type == MOUNT_SOCKET || mount->source != NULL, "a mount has no source");
  MUST(mount->type != MOUNT_DISK || mount->disk < DISKS_MAX, "a mount is of a disk that there can't be");
  return NULL;
}

static const char *decode_file(struct tlv_reader reader, struct arena *arena, struct file_spec *file) {
  *file = (struct file_spec){.mode = 0644};
  FIELD_LOOP(reader, field) {
    bool good = true;
    switch (field.tag) {
      case 1: good = text(arena, &field, &file->path); break;
      case 2: good = tlv_u32(&field, &file->mode) && file->mode <= 07777; break;
      case 3: good = text(arena, &field, &file->owner); break;
      case 4:
        file->content = field.value;
        file->length = field.length;
        break;
      case 5: good = flags_or(&field, &file->flags); break;
      default: break;
    }
    MUST(good, "a file has a bad field");
  }
  LOOP_ENDED("a file is cut short");
  MUST(file->path != NULL && file->path[0] == '/', "a file has no absolute path");
  return NULL;
}

static const char *decode_host(struct tlv_reader reader, struct arena *arena, struct host_entry *host) {
  *host = (struct host_entry){0};
  FIELD_LOOP(reader, field) {
    bool good = true;
    if (field.tag == 1) good = text(arena, &field, &host->address);
    if (field.tag == 2) good = text(arena, &field, &host->name);
    MUST(good, "a host entry has a bad field");
  }
  LOOP_ENDED("a host entry is cut short");
  MUST(host->address != NULL && host->name != NULL, "a host entry is incomplete");
  MUST(strpbrk(host->address, " \t\n") == NULL && strchr(host->name, '\n') == NULL, "a host entry breaks its line");
  return NULL;
}

/* One array of the fields with `tag`; each decoded by its own function. */
#define DECODE_ARRAY(reader, tag_, arena, out, count_, max, decode)       \
  do {                                                                    \
    size_t total_ = count(reader, tag_), at_ = 0;                         \
    MUST(total_ <= (max), "too many fields of one kind");                 \
    (out) = take(arena, sizeof *(out) * (total_ + 1));                    \
    MUST((out) != NULL, "out of memory");                                 \
    struct tlv_reader walk_ = (reader);                                   \
    struct tlv item_;                                                     \
    while (at_ < total_ && tlv_next(&walk_, &item_) > 0) {                \
      if (item_.tag != (tag_)) continue;                                  \
      const char *wrong_ = decode(tlv_nested(&item_), arena, &(out)[at_++]); \
      MUST(wrong_ == NULL, wrong_);                                       \
    }                                                                     \
    (count_) = at_;                                                       \
  } while (0)

static const char *decode_text_item(struct tlv_reader reader, struct arena *arena, char **out) {
  struct tlv whole = {.value = reader.at, .length = (uint32_t)reader.left};
  return text(arena, &whole, out) ? NULL : "a string holds a NUL byte";
}

static const char *decode_limit(struct tlv_reader reader, struct arena *arena, struct limit_spec *limit) {
  (void)arena;
  *limit = (struct limit_spec){0};
  FIELD_LOOP(reader, field) {
    bool good = true;
    if (field.tag == 1) good = tlv_u32(&field, &limit->resource);
    if (field.tag == 2) good = tlv_u64(&field, &limit->soft);
    if (field.tag == 3) good = tlv_u64(&field, &limit->hard);
    MUST(good, "a limit has a bad field");
  }
  LOOP_ENDED("a limit is cut short");
  return NULL;
}

static const char *decode_sandbox(struct tlv_reader reader, struct arena *arena, struct sandbox_spec *sandbox) {
  *sandbox = (struct sandbox_spec){0};
  FIELD_LOOP(reader, field) {
    bool good = true;
    switch (field.tag) {
      case 1: good = text(arena, &field, &sandbox->hostname); break;
      case 2: good = flags_or(&field, &sandbox->flags); break;
      case 6: good = tlv_u64(&field, &sandbox->shm_size); break;
      default: break;
    }
    MUST(good, "a sandbox has a bad field");
  }
  LOOP_ENDED("a sandbox is cut short");
  DECODE_ARRAY(reader, 3, arena, sandbox->mounts, sandbox->mount_count, MOUNTS_MAX, decode_mount);
  DECODE_ARRAY(reader, 4, arena, sandbox->files, sandbox->file_count, FILES_MAX, decode_file);
  DECODE_ARRAY(reader, 5, arena, sandbox->hosts, sandbox->host_count, HOSTS_MAX, decode_host);
  return NULL;
}

static const char *decode_process_fields(struct tlv_reader reader, struct arena *arena, struct process_spec *process) {
  *process = (struct process_spec){0};
  FIELD_LOOP(reader, field) {
    bool good = true;
    switch (field.tag) {
      case 3: good = text(arena, &field, &process->user); break;
      case 4: good = text(arena, &field, &process->cwd); break;
      case 5:
        good = field.length == 8;
        if (good) {
          process->tty = true;
          process->rows = le32_get(field.value);
          process->cols = le32_get(field.value + 4);
        }
        break;
      case 6: good = tlv_u64(&field, &process->capabilities); break;
      case 7: good = flags_or(&field, &process->flags); break;
      case 8: {
        process->sandbox = take(arena, sizeof *process->sandbox);
        MUST(process->sandbox != NULL, "out of memory");
        const char *wrong = decode_sandbox(tlv_nested(&field), arena, process->sandbox);
        MUST(wrong == NULL, wrong);
        break;
      }
      case 10:
        good = process->group_count < EXTRA_GROUPS_MAX && tlv_u32(&field, &process->groups[process->group_count]);
        process->group_count++;
        break;
      default: break;
    }
    MUST(good, "a process has a bad field");
  }
  LOOP_ENDED("a process is cut short");
  DECODE_ARRAY(reader, 1, arena, process->argv, process->argc, ARGUMENTS_MAX, decode_text_item);
  DECODE_ARRAY(reader, 2, arena, process->env, process->envc, ARGUMENTS_MAX, decode_text_item);
  process->argv[process->argc] = NULL;
  process->env[process->envc] = NULL;
  struct limit_spec *limits;
  DECODE_ARRAY(reader, 9, arena, limits, process->limit_count, LIMITS_MAX, decode_limit);
  memcpy(process->limits, limits, sizeof *limits * process->limit_count);
  MUST(process->argc > 0, "a process has no arguments");
  MUST(process->cwd != NULL && process->cwd[0] == '/', "a process has no absolute working directory");
  return NULL;
}

static const char *decode_lower(struct tlv_reader reader, struct arena *arena, struct lower_spec *lower) {
  *lower = (struct lower_spec){0};
  FIELD_LOOP(reader, field) {
    bool good = true;
    if (field.tag == 1) good = tlv_u32(&field, &lower->disk) && lower->disk < DISKS_MAX;
    if (field.tag == 2) good = text(arena, &field, &lower->path);
    MUST(good, "a lower disk has a bad field");
  }
  LOOP_ENDED("a lower disk is cut short");
  MUST(lower->path != NULL && lower->path[0] == '/', "a lower disk has no absolute path");
  return NULL;
}

static const char *decode_point(struct tlv_reader reader, struct arena *arena, struct point_spec *point) {
  *point = (struct point_spec){0};
  FIELD_LOOP(reader, field) {
    bool good = true;
    if (field.tag == 1) good = text(arena, &field, &point->path);
    if (field.tag == 2) good = tlv_u32(&field, &point->directory);
    MUST(good, "a mount point has a bad field");
  }
  LOOP_ENDED("a mount point is cut short");
  MUST(point->path != NULL && point->path[0] == '/', "a mount point has no absolute path");
  return NULL;
}

static const char *decode_root(struct tlv_reader reader, struct arena *arena, struct boot_config *config) {
  FIELD_LOOP(reader, field) {
    bool good = true;
    if (field.tag == 2) {
      good = tlv_u32(&field, &config->upper) && config->upper < DISKS_MAX;
      config->has_upper = true;
    } else if (field.tag == 3) {
      good = flags_or(&field, &config->root_flags);
    }
    MUST(good, "the root has a bad field");
  }
  LOOP_ENDED("the root is cut short");
  DECODE_ARRAY(reader, 1, arena, config->lowers, config->lower_count, LOWERS_MAX, decode_lower);
  DECODE_ARRAY(reader, 4, arena, config->points, config->point_count, POINTS_MAX, decode_point);
  return NULL;
}

static const char *decode_network(struct tlv_reader reader, struct boot_config *config) {
  config->has_network = true;
  FIELD_LOOP(reader, field) {
    bool good = true;
    switch (field.tag) {
      case 1:
        good = field.length == 4;
        if (good) memcpy(config->address, field.value, 4);
        break;
      case 2: good = tlv_u32(&field, &config->prefix) && config->prefix <= 32; break;
      case 3:
        good = field.length == 4;
        if (good) memcpy(config->gateway, field.value, 4);
        break;
      case 4:
        good = field.length == 4 && config->dns_count < DNS_MAX;
        if (good) memcpy(config->dns[config->dns_count++], field.value, 4);
        break;
      case 5: good = tlv_u32(&field, &config->mtu) && config->mtu <= 65535; break;
      default: break;
    }
    MUST(good, "the network has a bad field");
  }
  LOOP_ENDED("the network is cut short");
  return NULL;
}

static const char *decode_glob(struct tlv_reader reader, struct arena *arena, struct glob_spec *glob) {
  *glob = (struct glob_spec){0};
  FIELD_LOOP(reader, field) {
    bool good = true;
    if (field.tag == 1) good = text(arena, &field, &glob->glob);
    if (field.tag == 2) good = text(arena, &field, &glob->field);
    MUST(good, "an error log has a bad field");
  }
  LOOP_ENDED("an error log is cut short");
  MUST(glob->glob != NULL, "an error log has no pattern");
  return NULL;
}

static const char *decode_port(struct tlv_reader reader, struct arena *arena, struct port_spec *port) {
  (void)arena;
  uint32_t number = 0, udp = 0;
  FIELD_LOOP(reader, field) {
    bool good = true;
    if (field.tag == 1) good = tlv_u32(&field, &number);
    if (field.tag == 2) good = tlv_u32(&field, &udp);
    MUST(good, "a port has a bad field");
  }
  LOOP_ENDED("a port is cut short");
  MUST(number > 0 && number < 65536, "a port is out of range");
  *port = (struct port_spec){.port = (uint16_t)number, .udp = udp != 0};
  return NULL;
}

const char *decode_process(const uint8_t *bytes, size_t length, struct arena *arena, struct process_spec *process) {
  return decode_process_fields((struct tlv_reader){bytes, length}, arena, process);
}

const char *decode_boot(const uint8_t *bytes, size_t length, struct arena *arena, struct boot_config *config) {
  struct tlv_reader reader = {bytes, length};
  *config = (struct boot_config){0};
  FIELD_LOOP(reader, field) {
    bool good = true;
    const char *wrong = NULL;
    switch (field.tag) {
      case 1: good = text(arena, &field, &config->hostname); break;
      case 2: good = tlv_u64(&field, &config->clock_ns); break;
      case 3: wrong = decode_root(tlv_nested(&field), arena, config); break;
      case 4: wrong = decode_network(tlv_nested(&field), config); break;
      case 9:
        config->process = take(arena, sizeof *config->process);
        MUST(config->process != NULL, "out of memory");
        wrong = decode_process_fields(tlv_nested(&field), arena, config->process);
        break;
      case 11: good = tlv_u64(&field, &config->shm_size); break;
      default: break;
    }
    MUST(wrong == NULL, wrong);
    MUST(good, "the boot configuration has a bad field");
  }
  LOOP_ENDED("the boot configuration is cut short");
  DECODE_ARRAY(reader, 5, arena, config->hosts, config->host_count, HOSTS_MAX, decode_host);
  DECODE_ARRAY(reader, 6, arena, config->mounts, config->mount_count, MOUNTS_MAX, decode_mount);
  DECODE_ARRAY(reader, 7, arena, config->files, config->file_count, FILES_MAX, decode_file);
  DECODE_ARRAY(reader, 8, arena, config->ports, config->port_count, PORTS_MAX, decode_port);
  DECODE_ARRAY(reader, 10, arena, config->globs, config->glob_count, GLOBS_MAX, decode_glob);
  MUST(config->hostname != NULL && strlen(config->hostname) <= 64, "the host name is missing or too long");
  return NULL;
}
