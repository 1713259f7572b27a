/* queue_seglog_scan.c - frames, heads, and where the records of a file end: on images in memory. */
#include "support/queue_kit.h"

#include "../../src/queue/seglog_format.h"

#define SALT 0x1122334455667788ull
#define FIRST 40
#define IMAGE KIB(16)

/* An image is built the way the writer builds a file: groups, each with its `committed`. */
struct image {
	uint8_t *data;
	size_t len, at;
	int64_t next;
	size_t frame_at[64]; /* by offset - FIRST */
};

static const struct seglog_head head = { FIRST, 5000, SALT, 0 };

static void image_open(struct image *image)
{
	*image = (struct image){ .len = IMAGE, .at = SEGLOG_HEAD, .next = FIRST };
	image->data = calloc(1, IMAGE);
	assert_non_null(image->data);
	seglog_head_put(image->data, &head);
}

static void image_group(struct image *image, uint64_t salt, size_t count, size_t body_len)
{
	int64_t committed = image->next;

	for (size_t i = 0; i < count; i++) {
		struct kit_record *k = kit_record_new((uint64_t)image->next, body_len + i);

		k->record.offset = image->next;
		k->record.time_ms = 5000 + image->next;
		assert_true(image->at + seglog_frame_size(&k->record) <= image->len);
		seglog_frame_put(image->data + image->at, &k->record, committed, salt);
		image->frame_at[image->next - FIRST] = image->at;
		image->at += seglog_frame_size(&k->record);
		image->next++;
		kit_record_free(k);
	}
}

static struct seglog_scan scan(const struct image *image)
{
	struct seglog_scan out;

	seglog_scan((struct slice){ image->data, image->len }, &head, &out);
	return out;
}

static void heads_are_checked_whole(void **state)
{
	uint8_t raw[SEGLOG_HEAD];
	struct seglog_head got;
	uint32_t format;

	(void)state;
	seglog_head_put(raw, &head);
	assert_true(seglog_head_get(raw, &got, &format));
	assert_int_equal(got.first, FIRST);
	assert_int_equal(got.created_ms, 5000);
	assert_true(got.salt == SALT);
	for (size_t bit = 0; bit < sizeof(raw) * 8; bit++) {
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(seglog_head_get(raw, &got, &format));
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void a_frame_with_any_bit_flipped_is_not_valid(void **state)
{
	struct kit_record *k = kit_record_new(7, 33);
	struct seglog_frame frame;
	struct record record;
	uint8_t raw[512];
	size_t size, length;

	(void)state;
	k->record.offset = 7;
	k->record.time_ms = 99;
	size = seglog_frame_size(&k->record);
	length = SEGLOG_FRAME + k->record.key.len + 16 + 33;
	assert_true(size % SEGLOG_ALIGN == 0 && size >= length && size <= sizeof(raw));
	seglog_frame_put(raw, &k->record, 5, SALT);
	assert_true(seglog_frame_get((struct slice){ raw, size }, SALT, &frame, &record));
	assert_true(kit_record_is(&record, 7, 33));
	assert_int_equal(frame.size, size);
	assert_int_equal(frame.committed, 5);
	assert_int_equal(record.offset, 7);
	assert_int_equal(record.time_ms, 99);
	for (size_t bit = 0; bit < length * 8; bit++) {
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(seglog_frame_get((struct slice){ raw, size }, SALT, &frame, &record));
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t len = 0; len < size; len++)
		assert_false(seglog_frame_get((struct slice){ raw, len }, SALT, &frame, &record));
	assert_false(seglog_frame_get((struct slice){ raw, size }, SALT + 1, &frame, &record));
	kit_record_free(k);
}

static void a_whole_file_ends_behind_its_last_frame(void **state)
{
	struct image image;
	struct seglog_scan s;

	(void)state;
	image_open(&image);
	s = scan(&image);
	assert_int_equal(s.end, FIRST);
	assert_int_equal(s.end_at, SEGLOG_HEAD);
	assert_int_equal(s.last_time_ms, 5000);
	image_group(&image, SALT, 3, 10);
	image_group(&image, SALT, 2, 100);
	s = scan(&image);
	assert_int_equal(s.end, FIRST + 5);
	assert_int_equal(s.end_at, image.at);
	assert_int_equal(s.committed, FIRST + 3);
	assert_int_equal(s.uncertain_at, image.frame_at[3]); /* the last group */
	assert_int_equal(s.last_time_ms, 5000 + FIRST + 4);
	assert_true(s.proven <= s.end);
	free(image.data);
}

/* The last group is cut at every byte; behind the cut are zeros, ones, or what was there before. */
static void a_torn_tail_loses_only_the_torn(void **state)
{
	static const uint8_t fills[] = { 0x00, 0xff, 0x5a };
	struct image image;
	uint8_t *whole;
	size_t from;

	(void)state;
	image_open(&image);
	image_group(&image, SALT, 4, 20);
	from = image.at;
	image_group(&image, SALT, 4, 60);
	whole = malloc(IMAGE);
	assert_non_null(whole);
	memcpy(whole, image.data, IMAGE);
	for (size_t cut = from; cut <= image.at; cut++) {
		for (size_t f = 0; f < ARRAY_LEN(fills); f++) {
			int64_t kept = FIRST + 4;
			struct seglog_scan s;

			memcpy(image.data, whole, IMAGE);
			memset(image.data + cut, fills[f], image.at - cut);
			/* Padding behind a frame may be anything. */
			for (size_t i = 4; i < 8; i++) {
				size_t length = get_le32(whole + image.frame_at[i]);

				if (image.frame_at[i] + length <= cut)
					kept = FIRST + (int64_t)i + 1;
			}
			s = scan(&image);
			assert_int_equal(s.end, kept);
			assert_true(s.proven <= s.end);
			assert_true(s.dirty_end <= IMAGE);
		}
	}
	free(whole);
	free(image.data);
}

static void frames_behind_a_torn_one_are_known_and_not_proof(void **state)
{
	struct image image;
	struct seglog_scan s;

	(void)state;
	image_open(&image);
	image_group(&image, SALT, 2, 20);
	image_group(&image, SALT, 5, 60);
	image.data[image.frame_at[3] + 70] ^= 1; /* within the last group */
	s = scan(&image);
	assert_int_equal(s.end, FIRST + 3);
	assert_true(s.proven <= s.end);          /* nobody was told about this group */
	assert_int_equal(s.dirty_end, image.at); /* the frames behind must go */
	free(image.data);
}

/* Every bit of every frame that a later group proves. */
static void damage_to_what_was_durable_is_proven(void **state)
{
	struct image image;

	(void)state;
	image_open(&image);
	for (size_t i = 0; i < 4; i++)
		image_group(&image, SALT, 2, 24);
	for (size_t i = 0; i < 6; i++) {
		size_t length = get_le32(image.data + image.frame_at[i]);

		for (size_t at = 0; at < length; at++) {
			struct seglog_scan s;

			image.data[image.frame_at[i] + at] ^= 0x40;
			s = scan(&image);
			assert_int_equal(s.end, FIRST + (int64_t)i);
			assert_true(s.proven > s.end);
			image.data[image.frame_at[i] + at] ^= 0x40;
		}
	}
	free(image.data);
}

static void frames_of_an_earlier_use_never_count(void **state)
{
	struct image image;
	struct seglog_scan s;

	(void)state;
	image_open(&image);
	image_group(&image, SALT, 2, 20);
	/* Exactly the next offset at exactly the next byte, whole, and proving itself. */
	image_group(&image, SALT - 1, 2, 20);
	image_group(&image, SALT - 1, 2, 20);
	s = scan(&image);
	assert_int_equal(s.end, FIRST + 2);
	assert_true(s.proven <= s.end);
	assert_int_equal(s.dirty_end, s.end_at + SEGLOG_FRAME);
	free(image.data);
}

/* A body that looks like frames, sent by somebody who knows the format and not the salt. */
static void a_forged_body_proves_nothing(void **state)
{
	struct image image, inner;
	struct record r = { .offset = FIRST + 2, .time_ms = 9000 };
	struct seglog_scan s;

	(void)state;
	image_open(&image);
	image_open(&inner);
	inner.next = FIRST + 10;
	image_group(&inner, 0, 5, 20);
	image_group(&inner, 0, 5, 20);
	image_group(&image, SALT, 2, 20);
	r.body = (struct slice){ inner.data + SEGLOG_HEAD, inner.at - SEGLOG_HEAD };
	seglog_frame_put(image.data + image.at, &r, FIRST + 2, SALT);
	image.data[image.at + 70] ^= 1; /* torn, so that its body is searched */
	s = scan(&image);
	assert_int_equal(s.end, FIRST + 2);
	assert_true(s.proven <= s.end);
	free(inner.data);
	free(image.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_are_checked_whole),
		cmocka_unit_test(a_frame_with_any_bit_flipped_is_not_valid),
		cmocka_unit_test(a_whole_file_ends_behind_its_last_frame),
		cmocka_unit_test(a_torn_tail_loses_only_the_torn),
		cmocka_unit_test(frames_behind_a_torn_one_are_known_and_not_proof),
		cmocka_unit_test(damage_to_what_was_durable_is_proven),
		cmocka_unit_test(frames_of_an_earlier_use_never_count),
		cmocka_unit_test(a_forged_body_proves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
