/* Frames of the control channel: u8 type, u8 flags, u16 zero, u32 stream, u32 length, payload. PROTOCOL.md, "Frames".
 * `inbox` takes bytes as they come and hands out whole messages; `outbox` is a bounded ring of bytes to be sent, with a
 * reserve that data never uses, so that control always gets through. No I/O in here: it compiles and is fuzzed on the host. */
#ifndef FRAMES_H
#define FRAMES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_VERSION 1
#define FRAME_HEADER 12
#define FRAME_MAX_PAYLOAD (64 * 1024)
/* Messages longer than a frame are continued; the host may send at most this much (RENDER results, secrets). */
#define MESSAGE_MAX (8 * 1024 * 1024)
#define DATA_CHUNK (32 * 1024)
#define WINDOW_OUT (256 * 1024)
#define WINDOW_IN (64 * 1024)
#define OUTBOX_SIZE (512 * 1024)
#define OUTBOX_RESERVE (128 * 1024)

enum frame_type {
  /* host to guest */
  FRAME_BOOT = 0x10,
  FRAME_EXEC = 0x11,
  FRAME_SIGNAL = 0x12,
  FRAME_RESIZE = 0x13,
  FRAME_STDIN = 0x14,
  FRAME_STDIN_END = 0x15,
  FRAME_CREDIT = 0x16,
  FRAME_STATS = 0x20,
  FRAME_CLOCK = 0x21,
  FRAME_SYNC = 0x22,
  FRAME_SHUTDOWN = 0x23,
  /* guest to host */
  FRAME_HELLO = 0x80,
  FRAME_OK = 0x81,
  FRAME_ERROR = 0x82,
  FRAME_OUTPUT = 0x83,
  FRAME_OUTPUT_END = 0x84,
  FRAME_EXIT = 0x85,
  FRAME_STDIN_CREDIT = 0x86,
  FRAME_EVENT = 0x87,
  FRAME_CONNECT = 0x88,
};

/* Streams that the guest opens (FRAME_CONNECT) have this bit. */
#define STREAM_OF_GUEST 0x80000000u

/* In flags of FRAME_BOOT and FRAME_EXEC: the message goes on in the next frame. */
#define FLAG_MORE 1

struct frame {
  uint8_t type, flags;
  uint32_t stream;
  uint8_t *payload;
  size_t length;
};

struct inbox {
  uint8_t bytes[FRAME_HEADER + FRAME_MAX_PAYLOAD];
  size_t have;
  /* A continued message, collected. */
  uint8_t *message;
  size_t message_length, message_size;
  uint8_t message_type;
  uint32_t message_stream;
};

struct outbox {
  uint8_t ring[OUTBOX_SIZE];
  size_t start, used;
};

/* Where to put the next bytes, and how many are wanted at most. */
size_t inbox_space(struct inbox *inbox, uint8_t **at);
/* 1: `frame` is a whole message, valid until inbox_done; 0: more bytes are needed; -1: not this protocol. */
int inbox_next(struct inbox *inbox, struct frame *frame);
/* Wipes the message that inbox_next handed out: it may have held secrets. */
void inbox_done(struct inbox *inbox, const struct frame *frame);

size_t outbox_free(const struct outbox *outbox);
/* False when there is no room; nothing is put then. */
bool outbox_put(struct outbox *outbox, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t length);
/* The longest piece that can be written at once. */
size_t outbox_peek(const struct outbox *outbox, const uint8_t **at);
void outbox_consume(struct outbox *outbox, size_t count);
#endif
