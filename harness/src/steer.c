#include "steer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STEERED_MAX 4096

/* The instruction set: Documentation/bpf/standardization/instruction-set.rst. */
#define LOAD32(to, from, at) {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = to, .src_reg = from, .off = at}
#define STORE32(to, at, from) {.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = to, .src_reg = from, .off = at}
#define MOVE(to, from) {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = to, .src_reg = from}
#define SET(to, value) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = to, .imm = value}
#define ADD(to, value) {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = to, .imm = value}
#define SKIP_UNLESS_EQUAL(reg, value, count) \
  {.code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = reg, .off = count, .imm = value}
#define SKIP_IF_NULL(reg, count) {.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = reg, .off = count}
#define CALL(function) {.code = BPF_JMP | BPF_CALL, .imm = function}
#define EXIT {.code = BPF_JMP | BPF_EXIT}

static int bpf(int command, union bpf_attr *attr) { return (int)syscall(SYS_bpf, command, attr, sizeof *attr); }

static int load(int map, const uint8_t address[4]) {
  int32_t machine;
  memcpy(&machine, address, 4);
  const struct bpf_insn program[] = {
      MOVE(6, 1),
      LOAD32(2, 6, offsetof(struct bpf_sk_lookup, family)),
      SKIP_UNLESS_EQUAL(2, AF_INET, 19),
      LOAD32(2, 6, offsetof(struct bpf_sk_lookup, protocol)),
      SKIP_UNLESS_EQUAL(2, IPPROTO_TCP, 17),
      LOAD32(2, 6, offsetof(struct bpf_sk_lookup, local_ip4)),
      SKIP_UNLESS_EQUAL(2, machine, 15),
      LOAD32(2, 6, offsetof(struct bpf_sk_lookup, local_port)),
      STORE32(10, -4, 2),
      {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map},
      {0},
      MOVE(2, 10),
      ADD(2, -4),
      CALL(BPF_FUNC_map_lookup_elem),
      SKIP_IF_NULL(0, 7),
      MOVE(7, 0),
      MOVE(1, 6),
      MOVE(2, 7),
      SET(3, 0),
      CALL(BPF_FUNC_sk_assign),
      MOVE(1, 7),
      CALL(BPF_FUNC_sk_release),
      /* All skips land here: what is steered and what is not both go on. */
      SET(0, SK_PASS),
      EXIT,
  };
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_SK_LOOKUP;
  attr.expected_attach_type = BPF_SK_LOOKUP;
  attr.insns = (uintptr_t)program;
  attr.insn_cnt = sizeof program / sizeof *program;
  attr.license = (uintptr_t) "Apache-2.0";
  return bpf(BPF_PROG_LOAD, &attr);
}

static int make_map(void) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.map_type = BPF_MAP_TYPE_SOCKHASH;
  attr.key_size = sizeof(uint32_t);
  attr.value_size = sizeof(uint64_t);
  attr.max_entries = STEERED_MAX;
  return bpf(BPF_MAP_CREATE, &attr);
}

static int attach(int program) {
  int namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (namespace < 0) return -1;
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.link_create.prog_fd = (uint32_t)program;
  attr.link_create.target_fd = (uint32_t)namespace;
  attr.link_create.attach_type = BPF_SK_LOOKUP;
  int link = bpf(BPF_LINK_CREATE, &attr);
  int number = errno;
  close(namespace);
  errno = number;
  return link;
}

static int open_listener(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(STEER_ADDRESS)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 512) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

bool steer_open(struct steer *steer, const uint8_t address[4]) {
  *steer = (struct steer){-1, -1, -1};
  steer->map = make_map();
  int program = steer->map < 0 ? -1 : load(steer->map, address);
  if (program >= 0) steer->link = attach(program);
  if (steer->link >= 0) steer->listener = open_listener();
  int number = errno;
  if (program >= 0) close(program);
  if (steer->listener >= 0) return true;
  if (steer->link >= 0) close(steer->link);
  if (steer->map >= 0) close(steer->map);
  errno = number;
  return false;
}

bool steer_set(const struct steer *steer, uint16_t port, bool on) {
  uint32_t key = port;
  uint64_t value = (uint64_t)steer->listener;
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.map_fd = (uint32_t)steer->map;
  attr.key = (uintptr_t)&key;
  attr.value = on ? (uintptr_t)&value : 0;
  return bpf(on ? BPF_MAP_UPDATE_ELEM : BPF_MAP_DELETE_ELEM, &attr) == 0;
}

int steer_accept(const struct steer *steer, uint16_t *port) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  int fd = accept4(steer->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return -1;
  if (getsockname(fd, (struct sockaddr *)&address, &length) == 0) {
    *port = ntohs(address.sin_port);
    return fd;
  }
  close(fd);
  return -1;
}
