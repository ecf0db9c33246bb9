/* Writable disks that are full: told once each, and again after there has been room. */
#include <stdio.h>
#include <sys/statvfs.h>

#include "harness.h"
#include "tlv.h"

#define LOOK_MS 5000
/* What a filesystem that says ENOSPC may still have left over, and what it must have again to be told anew. */
#define FULL_BYTES (256u << 10)
#define ROOM_BYTES (4u << 20)

static void look_at(struct harness *h, uint32_t disk, const char *target) {
  struct statvfs fs;
  uint32_t bit = 1u << disk;
  if (statvfs(target, &fs) < 0 || (fs.f_flag & ST_RDONLY) != 0) return;
  uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
  if (left > ROOM_BYTES && fs.f_favail > 0) h->disks_full &= ~bit;
  if ((left > FULL_BYTES && fs.f_favail > 0) || (h->disks_full & bit) != 0) return;
  uint8_t buffer[64];
  struct tlv_writer writer = {.buffer = buffer, .size = sizeof buffer};
  tlv_put_u32(&writer, 1, 5);
  tlv_put_u64(&writer, 4, (uint64_t)fs.f_blocks * fs.f_frsize);
  tlv_put_u32(&writer, 10, disk);
  if (outbox_free(&h->outbox) <= OUTBOX_RESERVE / 2) return;
  send_frame(h, FRAME_EVENT, 0, 0, buffer, writer.used);
  h->disks_full |= bit;
}

void space_look(struct harness *h) {
  char target[64];
  h->space_looked_ms = now_ms();
  if (h->upper_device[0] != 0) look_at(h, h->upper_disk, UPPER);
  for (uint32_t disk = 0; disk < DISKS_MAX; disk++) {
    if ((h->disks_mounted & 1u << disk) == 0) continue;
    snprintf(target, sizeof target, WORK "/disk%u", disk);
    look_at(h, disk, target);
  }
}

int space_watch(struct harness *h) {
  if (h->phase != PHASE_RUNNING || (h->upper_device[0] == 0 && h->disks_mounted == 0)) return -1;
  int64_t left = h->space_looked_ms + LOOK_MS - now_ms();
  if (left > 0) return (int)left;
  space_look(h);
  return LOOK_MS;
}
