/* What the machine has used since boot, from /proc: for `stats` and for telling whether it is idle. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "tlv.h"

static uint64_t cpu_usec(void) {
  unsigned long long user = 0, nice = 0, system = 0, idle, iowait, irq = 0, softirq = 0;
  FILE *file = fopen("/proc/stat", "re");
  if (file == NULL) return 0;
  if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq, &softirq) != 7)
    user = nice = system = irq = softirq = 0;
  fclose(file);
  return (user + nice + system + irq + softirq) * (1000000 / (unsigned long long)sysconf(_SC_CLK_TCK));
}

static uint64_t memory_used(void) {
  char line[256];
  unsigned long long total = 0, available = 0;
  FILE *file = fopen("/proc/meminfo", "re");
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL) {
    sscanf(line, "MemTotal: %llu kB", &total);
    if (sscanf(line, "MemAvailable: %llu kB", &available) == 1) break;
  }
  fclose(file);
  return (total > available ? total - available : 0) * 1024;
}

/* Sectors of 512 bytes read and written by the virtio disks (Documentation/admin-guide/iostats.rst). */
static void disks(uint64_t *read_bytes, uint64_t *written_bytes) {
  char line[512], name[32];
  unsigned long long in, out;
  FILE *file = fopen("/proc/diskstats", "re");
  if (file == NULL) return;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%*u %*u %31s %*u %*u %llu %*u %*u %*u %llu", name, &in, &out) != 3) continue;
    if (strncmp(name, "vd", 2) != 0) continue;
    *read_bytes += in * 512;
    *written_bytes += out * 512;
  }
  fclose(file);
}

static void network(uint64_t *received, uint64_t *sent) {
  char line[512];
  unsigned long long in, out;
  FILE *file = fopen("/proc/net/dev", "re");
  if (file == NULL) return;
  while (fgets(line, sizeof line, file) != NULL) {
    char *counters = strstr(line, "eth0:");
    if (counters == NULL || sscanf(counters + 5, "%llu %*u %*u %*u %*u %*u %*u %*u %llu", &in, &out) != 2) continue;
    *received += in;
    *sent += out;
  }
  fclose(file);
}

/* Established TCP connections with somebody outside; those within the machine are the app's own business. */
static uint32_t connections(const char *path, const char *loopback, const char *mapped) {
  char line[512], remote[64];
  unsigned state;
  uint32_t count = 0;
  FILE *file = fopen(path, "re");
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%*s %*s %63[0-9A-F]:%*x %x", remote, &state) != 2 || state != 1) continue;
    if (strcmp(remote, loopback) != 0 && (mapped == NULL || strcmp(remote, mapped) != 0)) count++;
  }
  fclose(file);
  return count;
}

static uint32_t processes(void) {
  uint32_t count = 0;
  DIR *proc = opendir("/proc");
  if (proc == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    char path[300], link[8];
    /* Kernel threads have no program. */
    snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
    if (readlink(path, link, sizeof link) > 0) count++;
  }
  closedir(proc);
  return count;
}

void stats_send(struct harness *h, uint32_t request) {
  uint8_t buffer[256];
  struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
  uint64_t disk_read = 0, disk_written = 0, received = 0, sent = 0;
  disks(&disk_read, &disk_written);
  network(&received, &sent);
  tlv_put_u64(&writer, 1, cpu_usec());
  tlv_put_u64(&writer, 2, memory_used());
  tlv_put_u64(&writer, 3, disk_read);
  tlv_put_u64(&writer, 4, disk_written);
  tlv_put_u64(&writer, 5, received);
  tlv_put_u64(&writer, 6, sent);
  tlv_put_u32(&writer, 7, connections("/proc/net/tcp", "0100007F", NULL) +
                              connections("/proc/net/tcp6", "00000000000000000000000001000000",
                                          "0000000000000000FFFF00000100007F"));
  uint32_t all = processes();
  uint32_t ours = 1u + (h->proxy_pid > 0) + (h->errorlog_reports >= 0);
  tlv_put_u32(&writer, 8, all > ours ? all - ours : 0);
  send_frame(h, FRAME_OK, 0, request, buffer, writer.used);
}
