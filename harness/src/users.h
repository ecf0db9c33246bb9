/* Who a process runs as: `user[:group]` resolved by the root's own passwd(5) and group(5), which may be anything at all.
 * Compiles on the host, where it is tested and fuzzed. */
#ifndef USERS_H
#define USERS_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define GROUPS_MAX 128
#define HOME_SIZE 1024

struct identity {
  uid_t uid;
  gid_t gid;
  gid_t groups[GROUPS_MAX];
  int group_count;
  char home[HOME_SIZE];
};

/* Files may be -1 (missing). NULL when resolved, else what is not found ("user", "group") or malformed. As Docker does it:
 * a number need not be in passwd; its group is then 0 and its home /; an explicit group leaves no supplementary ones. */
const char *users_resolve(int passwd, int group, const char *spec, struct identity *identity);
#endif
