#include "frames.h"

#include <stdlib.h>
#include <string.h>

#include "tlv.h"

size_t inbox_space(struct inbox *inbox, uint8_t **at) {
  *at = inbox->bytes + inbox->have;
  return sizeof inbox->bytes - inbox->have;
}

static void wipe_message(struct inbox *inbox) {
  if (inbox->message != NULL) explicit_bzero(inbox->message, inbox->message_size);
  free(inbox->message);
  inbox->message = NULL;
  inbox->message_length = inbox->message_size = 0;
}

/* realloc would leave a copy of secrets behind. */
static bool append(struct inbox *inbox, const uint8_t *bytes, size_t length) {
  size_t needed = inbox->message_length + length;
  if (needed > MESSAGE_MAX) return false;
  if (needed > inbox->message_size) {
    size_t size = inbox->message_size * 2 > needed ? inbox->message_size * 2 : needed;
    uint8_t *grown = malloc(size > 0 ? size : 1);
    if (grown == NULL) return false;
    if (inbox->message_length > 0) memcpy(grown, inbox->message, inbox->message_length);
    size_t kept = inbox->message_length;
    wipe_message(inbox);
    inbox->message = grown;
    inbox->message_size = size;
    inbox->message_length = kept;
  }
  if (length > 0) memcpy(inbox->message + inbox->message_length, bytes, length);
  inbox->message_length = needed;
  return true;
}

static void drop_frame(struct inbox *inbox, size_t length) {
  size_t rest = inbox->have - length;
  memmove(inbox->bytes, inbox->bytes + length, rest);
  explicit_bzero(inbox->bytes + rest, length);
  inbox->have = rest;
}

int inbox_next(struct inbox *inbox, struct frame *frame) {
  while (inbox->have >= FRAME_HEADER) {
    const uint8_t *header = inbox->bytes;
    uint32_t length = le32_get(header + 8);
    if (le16_get(header + 2) != 0 || length > FRAME_MAX_PAYLOAD) return -1;
    if (inbox->have < FRAME_HEADER + length) return 0;
    *frame = (struct frame){.type = header[0],
                            .flags = header[1],
                            .stream = le32_get(header + 4),
                            .payload = inbox->bytes + FRAME_HEADER,
                            .length = length};
    bool continuable = frame->type == FRAME_BOOT || frame->type == FRAME_EXEC;
    if (!continuable) return 1;
    bool first = inbox->message == NULL;
    if (first) {
      inbox->message_type = frame->type;
      inbox->message_stream = frame->stream;
    } else if (frame->type != inbox->message_type || frame->stream != inbox->message_stream) {
      return -1;
    }
    bool more = (frame->flags & FLAG_MORE) != 0;
    if (!more && first) return 1;
    if (!append(inbox, frame->payload, length)) return -1;
    drop_frame(inbox, FRAME_HEADER + length);
    if (more) continue;
    frame->payload = inbox->message;
    frame->length = inbox->message_length;
    return 1;
  }
  return 0;
}

void inbox_done(struct inbox *inbox, const struct frame *frame) {
  if (frame->payload == inbox->message && inbox->message != NULL) {
    wipe_message(inbox);
  } else {
    drop_frame(inbox, FRAME_HEADER + frame->length);
  }
}

size_t outbox_free(const struct outbox *outbox) { return OUTBOX_SIZE - outbox->used; }

static void ring_put(struct outbox *outbox, const uint8_t *bytes, size_t length) {
  size_t end = (outbox->start + outbox->used) % OUTBOX_SIZE;
  size_t first = OUTBOX_SIZE - end < length ? OUTBOX_SIZE - end : length;
  memcpy(outbox->ring + end, bytes, first);
  memcpy(outbox->ring, bytes + first, length - first);
  outbox->used += length;
}

bool outbox_put(struct outbox *outbox, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
                size_t length) {
  if (length > FRAME_MAX_PAYLOAD || outbox_free(outbox) < FRAME_HEADER + length) return false;
  uint8_t header[FRAME_HEADER] = {type, flags};
  le32_put(header + 4, stream);
  le32_put(header + 8, (uint32_t)length);
  ring_put(outbox, header, sizeof header);
  if (length > 0) ring_put(outbox, payload, length);
  return true;
}

size_t outbox_peek(const struct outbox *outbox, const uint8_t **at) {
  *at = outbox->ring + outbox->start;
  size_t straight = OUTBOX_SIZE - outbox->start;
  return outbox->used < straight ? outbox->used : straight;
}

void outbox_consume(struct outbox *outbox, size_t count) {
  outbox->start = (outbox->start + count) % OUTBOX_SIZE;
  outbox->used -= count;
}
