/* Tagged fields of control messages: u16 tag, u32 length, value; little-endian, nested by putting fields into a value.
 * PROTOCOL.md, "Fields". The reader trusts nothing; the writer works in a caller's buffer and remembers an overflow. */
#ifndef TLV_H
#define TLV_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLV_HEADER 6

struct tlv_reader {
  const uint8_t *at;
  size_t left;
};

struct tlv {
  uint16_t tag;
  const uint8_t *value;
  uint32_t length;
};

struct tlv_writer {
  uint8_t *buffer;
  size_t used, size;
  bool overflow;
};

/* 1: `field` is the next one; 0: end; -1: the bytes are not fields. */
int tlv_next(struct tlv_reader *reader, struct tlv *field);
/* Integers travel with exactly their width; false when the width is another. */
bool tlv_u32(const struct tlv *field, uint32_t *value);
bool tlv_u64(const struct tlv *field, uint64_t *value);
struct tlv_reader tlv_nested(const struct tlv *field);

void tlv_put(struct tlv_writer *writer, uint16_t tag, const void *value, size_t length);
void tlv_put_text(struct tlv_writer *writer, uint16_t tag, const char *text);
void tlv_put_u32(struct tlv_writer *writer, uint16_t tag, uint32_t value);
void tlv_put_u64(struct tlv_writer *writer, uint16_t tag, uint64_t value);

uint16_t le16_get(const uint8_t *bytes);
uint32_t le32_get(const uint8_t *bytes);
void le32_put(uint8_t *bytes, uint32_t value);
#endif
