/* kafka.c - header blocks and the library's headers: what is taken comes back byte for byte, and
 * what would not is refused. */
#include <stdlib.h>

#include "../support/kafka_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const rd_kafka_message_t message;
	const struct slice block = { data, size };
	struct err err = ERR_INIT;
	struct record record;
	size_t back_size = 0;
	uint8_t *back;

	if ((kafka_headers(block, &message_headers, &err) == ERR_OK) != (err.code == ERR_OK))
		abort(); /* result and report must agree */
	if (err.code == ERR_OK && size > 0) {
		if (kafka_block_size(&message, &back_size)) {
			back = malloc(back_size); /* not a byte more than was asked for */
			if (!back)
				return 0;
			kafka_record(&message, back, &record);
			if (back_size != size || !slice_eq(record.headers, block))
				abort();
			free(back);
		} else if (size <= EVENT_HEADERS_MAX && get_le16(data) <= EVENT_HEADER_COUNT_MAX) {
			abort(); /* it was a block */
		}
	}
	if (message_headers)
		rd_kafka_headers_destroy(message_headers);
	message_headers = NULL;
	return 0;
}

#include "replay_main.inc"
