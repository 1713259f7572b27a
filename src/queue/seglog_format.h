/* seglog_format.h - the bytes of a segment file, and what a scan over them says. Pure.
 *
 * File:  head (64 bytes), then frames, each at a multiple of 8, then zeros or stale bytes.
 * Head:  magic[8] crc u32 format u32 first u64 salt u64 created_ms u64 stream u32, zeros.
 * Frame: length u32, crc u32, offset u64, time_ms u64, committed u64, attempt[16], salt u64,
 *        key length u32, headers length u32, key, headers, body. The body takes the rest of length;
 * zeros pad to 8. crc is the CRC32C of all that follows it, up to length.
 *
 * salt is random for each use of a file: frames of an earlier use never pass for frames of this
 * one, and nobody who sends bodies can make one that does. committed is the end of what was durable
 * when the frame was written: a valid frame proves that every offset below its committed had been
 * durable. */
#pragma once

#include "postern/event.h"

#define SEGLOG_FORMAT 1u
#define SEGLOG_HEAD 64
#define SEGLOG_FRAME 64
#define SEGLOG_ALIGN 8

/* Names in its directory, beside the segments. */
#define SEGLOG_NAME_MAX 32
#define SEGLOG_SPARE "spare"
#define SEGLOG_SPARE_NEW "spare.new"
#define SEGLOG_SHARED "shared"

struct seglog_head {
	int64_t first, created_ms;
	uint64_t salt;
	uint32_t stream;
};
void seglog_head_put(uint8_t out[SEGLOG_HEAD], const struct seglog_head *head);
/* False: not a head of ours. *out_format is what it claims when the checksum is right. */
bool seglog_head_get(const uint8_t in[SEGLOG_HEAD], struct seglog_head *out, uint32_t *out_format);

/* What the frame of this record takes in the file, padding included. */
size_t seglog_frame_size(const struct record *r);
/* Write it; r->offset and r->time_ms are taken from the record. at has seglog_frame_size() bytes.
 */
void seglog_frame_put(uint8_t *at, const struct record *r, int64_t committed, uint64_t salt);

struct seglog_frame {
	size_t size; /* padding included */
	int64_t offset, time_ms, committed;
};
/* The fixed part only: do lengths, salt and offset fit? in has at least SEGLOG_FRAME bytes; room is
 * how many bytes there are up to the end of the file. The checksum is not looked at. */
bool seglog_frame_peek(const uint8_t *in, size_t room, uint64_t salt, struct seglog_frame *out);
/* The whole frame, checksum included; in.data has out->size bytes of it at least, or it is not
 * valid. The record's slices point into it. */
bool seglog_frame_get(
	struct slice in, uint64_t salt, struct seglog_frame *out, struct record *record);

/* What the file of a segment says, read from its beginning. */
struct seglog_scan {
	int64_t end;          /* offset behind the last valid frame */
	size_t end_at;        /* and the byte */
	int64_t committed;    /* of the last valid frame; first without one */
	size_t uncertain_at;  /* byte of the first frame that no later one proves durable */
	int64_t last_time_ms; /* created_ms without a frame */
	size_t dirty_end;     /* bytes of this use of the file, behind the end, reach up to here */
	int64_t proven; /* the largest committed of a valid frame behind the end; above end: damage
			 */
};
void seglog_scan(struct slice file, const struct seglog_head *head, struct seglog_scan *out);
