/* journal_priv.h - the fixed places of a batch's header. */
#pragma once

#include "postern/journal.h"

#define JOURNAL_HEADER_LEN 116
#define ITEM_HEAD_LEN 5 /* type u8, length u32 */

/* clang-format off */
enum header_place {
	AT_MAGIC = 0,             /* 4 bytes */
	AT_FORMAT = 4,            /* u8 */
	AT_TYPE = 5,              /* u8 */
	AT_RESERVED = 6,          /* u16, zero */
	AT_EPOCH = 8,
	AT_WRITER = 16,
	AT_SEQ = 32,
	AT_NEXT = 40,
	AT_BASE = 48,
	AT_GENERATION = 56,       /* u32 */
	AT_PARTITIONS = 60,       /* u32 */
	AT_ITEMS = 64,            /* u32 */
	AT_LENGTH = 68,           /* u32, of the whole batch */
	AT_CHECKPOINT = 72,       /* offset i64, epoch u64, seq u64, writer */
	AT_CRC = 112,
};
/* clang-format on */
