#include "users.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 8192
#define FILE_LIMIT (4 << 20)

struct lines {
  int fd;
  size_t have, at, total;
  char buffer[LINE_SIZE];
};

/* The next line without its end, NULL at the end of the file. A line longer than the buffer is skipped. */
static char *next_line(struct lines *lines) {
  bool skipping = false;
  for (;;) {
    char *end = memchr(lines->buffer + lines->at, '\n', lines->have - lines->at);
    if (end != NULL) {
      char *line = lines->buffer + lines->at;
      *end = 0;
      lines->at = (size_t)(end - lines->buffer) + 1;
      if (!skipping) return line;
      skipping = false;
      continue;
    }
    memmove(lines->buffer, lines->buffer + lines->at, lines->have - lines->at);
    lines->have -= lines->at;
    lines->at = 0;
    if (lines->have == sizeof lines->buffer - 1) {
      skipping = true;
      lines->have = 0;
    }
    ssize_t got = lines->total >= FILE_LIMIT
                      ? 0
                      : read(lines->fd, lines->buffer + lines->have, sizeof lines->buffer - 1 - lines->have);
    if (got <= 0) {
      if (lines->have == 0 || skipping) return NULL;
      lines->buffer[lines->have] = 0;
      lines->have = 0;
      return lines->buffer;
    }
    lines->have += (size_t)got;
    lines->total += (size_t)got;
  }
}

static bool number(const char *text, uint32_t *value) {
  if (*text < '0' || *text > '9') return false;
  uint64_t sum = 0;
  for (; *text != 0; text++) {
    if (*text < '0' || *text > '9') return false;
    sum = sum * 10 + (uint64_t)(*text - '0');
    if (sum > INT32_MAX) return false;
  }
  *value = (uint32_t)sum;
  return true;
}

/* Cuts the next colon-separated field off. */
static char *field(char **rest) {
  if (*rest == NULL) return NULL;
  char *start = *rest, *colon = strchr(start, ':');
  if (colon != NULL) *colon = 0;
  *rest = colon == NULL ? NULL : colon + 1;
  return start;
}

static bool lookup_user(int fd, const char *wanted, struct identity *identity, char name[256]) {
  struct lines lines = {.fd = fd};
  uint32_t wanted_uid = 0, uid = 0, gid = 0;
  bool numeric = number(wanted, &wanted_uid);
  for (char *line; fd >= 0 && (line = next_line(&lines)) != NULL;) {
    char *rest = line, *user = field(&rest);
    field(&rest);
    char *uid_text = field(&rest), *gid_text = field(&rest);
    field(&rest);
    char *home = field(&rest);
    if (gid_text == NULL || user[0] == 0 || !number(uid_text, &uid) || !number(gid_text, &gid)) continue;
    /* A number is nobody's name, whoever is called so. */
    if (numeric ? uid != wanted_uid : strcmp(user, wanted) != 0) continue;
    identity->uid = uid;
    identity->gid = gid;
    if (home != NULL && home[0] != 0 && strlen(home) < sizeof identity->home) strcpy(identity->home, home);
    if (strlen(user) < 256) strcpy(name, user);
    return true;
  }
  if (!numeric) return false;
  identity->uid = wanted_uid;
  return true;
}

static bool listed(char *members, const char *name) {
  char *save = NULL;
  for (char *member = strtok_r(members, ",", &save); member != NULL; member = strtok_r(NULL, ",", &save))
    if (strcmp(member, name) == 0) return true;
  return false;
}

static bool lookup_group(int fd, const char *wanted, gid_t *found) {
  struct lines lines = {.fd = fd};
  uint32_t wanted_gid = 0, gid = 0;
  if (number(wanted, &wanted_gid)) {
    *found = wanted_gid;
    return true;
  }
  for (char *line; fd >= 0 && (line = next_line(&lines)) != NULL;) {
    char *rest = line, *group = field(&rest);
    field(&rest);
    char *gid_text = field(&rest);
    if (gid_text == NULL || !number(gid_text, &gid) || strcmp(group, wanted) != 0) continue;
    *found = gid;
    return true;
  }
  return false;
}

static void supplementary(int fd, const char *name, struct identity *identity) {
  struct lines lines = {.fd = fd};
  uint32_t gid = 0;
  for (char *line; fd >= 0 && name[0] != 0 && (line = next_line(&lines)) != NULL;) {
    char *rest = line;
    field(&rest);
    field(&rest);
    char *gid_text = field(&rest), *members = field(&rest);
    if (members == NULL || !number(gid_text, &gid) || identity->group_count == GROUPS_MAX) continue;
    if (listed(members, name)) identity->groups[identity->group_count++] = gid;
  }
}

const char *users_resolve(int passwd, int group, const char *spec, struct identity *identity) {
  char user[256], name[256] = "";
  memset(identity, 0, sizeof *identity);
  strcpy(identity->home, "/");
  const char *colon = strchr(spec, ':');
  size_t length = colon != NULL ? (size_t)(colon - spec) : strlen(spec);
  if (length >= sizeof user) return "user";
  memcpy(user, spec, length);
  user[length] = 0;
  if (!lookup_user(passwd, length > 0 ? user : "0", identity, name)) return "user";
  if (colon != NULL && colon[1] != 0) return lookup_group(group, colon + 1, &identity->gid) ? NULL : "group";
  supplementary(group, name, identity);
  return NULL;
}
