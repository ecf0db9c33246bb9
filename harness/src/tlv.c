#include "tlv.h"

#include <string.h>

uint16_t le16_get(const uint8_t *bytes) { return (uint16_t)(bytes[0] | bytes[1] << 8); }

uint32_t le32_get(const uint8_t *bytes) {
  return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

void le32_put(uint8_t *bytes, uint32_t value) {
  for (int i = 0; i < 4; i++) bytes[i] = (uint8_t)(value >> (8 * i));
}

int tlv_next(struct tlv_reader *reader, struct tlv *field) {
  if (reader->left == 0) return 0;
  if (reader->left < TLV_HEADER) return -1;
  field->tag = le16_get(reader->at);
  field->length = le32_get(reader->at + 2);
  if (field->length > reader->left - TLV_HEADER) return -1;
  field->value = reader->at + TLV_HEADER;
  reader->at += TLV_HEADER + field->length;
  reader->left -= TLV_HEADER + field->length;
  return 1;
}

bool tlv_u32(const struct tlv *field, uint32_t *value) {
  if (field->length != 4) return false;
  *value = le32_get(field->value);
  return true;
}

bool tlv_u64(const struct tlv *field, uint64_t *value) {
  if (field->length != 8) return false;
  *value = le32_get(field->value) | (uint64_t)le32_get(field->value + 4) << 32;
  return true;
}

struct tlv_reader tlv_nested(const struct tlv *field) {
  return (struct tlv_reader){.at = field->value, .left = field->length};
}

void tlv_put(struct tlv_writer *writer, uint16_t tag, const void *value, size_t length) {
  if (writer->overflow || length > UINT32_MAX || writer->size - writer->used < TLV_HEADER ||
      length > writer->size - writer->used - TLV_HEADER) {
    writer->overflow = true;
    return;
  }
  uint8_t *at = writer->buffer + writer->used;
  at[0] = (uint8_t)tag;
  at[1] = (uint8_t)(tag >> 8);
  le32_put(at + 2, (uint32_t)length);
  if (length > 0) memcpy(at + TLV_HEADER, value, length);
  writer->used += TLV_HEADER + length;
}

void tlv_put_text(struct tlv_writer *writer, uint16_t tag, const char *text) {
  tlv_put(writer, tag, text, strlen(text));
}

void tlv_put_u32(struct tlv_writer *writer, uint16_t tag, uint32_t value) {
  uint8_t bytes[4];
  le32_put(bytes, value);
  tlv_put(writer, tag, bytes, sizeof bytes);
}

void tlv_put_u64(struct tlv_writer *writer, uint16_t tag, uint64_t value) {
  uint8_t bytes[8];
  le32_put(bytes, (uint32_t)value);
  le32_put(bytes + 4, (uint32_t)(value >> 32));
  tlv_put(writer, tag, bytes, sizeof bytes);
}
