/* crew_lives.c - the writers that earlier lives of this process were: a small file in the crew's
 * directory, which one process at a time may use.
 *
 * An owner that was a life of ours is surely gone: a worker that is started again after a crash
 * need not wait until somebody misses it. That the file is lost, or copied, does no harm: a claim
 * is safe at any time. Deliberately not here: when a lane is claimed (lane_claim.c). */
#include "crew_priv.h"

#include "postern/file.h"

#include <stdlib.h>

#define FILE_NAME "writers"

bool crew_was_ours(const struct crew *crew, const uint8_t writer[WRITER_LEN])
{
	for (size_t i = 0; i < crew->life_count; i++) {
		if (memcmp(crew->lives[i], writer, WRITER_LEN) == 0)
			return true;
	}
	return false;
}

static void read_lives(struct crew *crew, const char *path)
{
	struct buf bytes = BUF_INIT(KIB(4));

	if (file_read(path, &bytes, NULL) == ERR_OK && bytes.len % WRITER_LEN == 0) {
		crew->life_count = bytes.len / WRITER_LEN;
		if (crew->life_count > CREW_LIVES)
			crew->life_count = CREW_LIVES;
		if (crew->life_count > 0)
			memcpy(crew->lives, bytes.data, crew->life_count * WRITER_LEN);
	}
	buf_done(&bytes);
}

/* This life comes first, for the next one. */
static enum err_code write_lives(const struct crew *crew, const char *path, struct err *err)
{
	const size_t kept = crew->life_count < CREW_LIVES ? crew->life_count : CREW_LIVES - 1;
	uint8_t bytes[CREW_LIVES][WRITER_LEN];

	memcpy(bytes[0], crew->writer, WRITER_LEN);
	memcpy(bytes[1], crew->lives, kept * WRITER_LEN);
	return file_write_atomic(
		path, (struct slice){ bytes[0], (kept + 1) * WRITER_LEN }, 0600, err);
}

enum err_code crew_begin_life(struct crew *crew, struct err *err)
{
	char *path = file_join(crew->opts.dir, FILE_NAME);
	enum err_code rc = path ? file_make_dirs(crew->opts.dir, err)
				: err_set(err, ERR_NOMEM, "no memory for a path");

	if (rc == ERR_OK) {
		read_lives(crew, path);
		rc = write_lives(crew, path, err);
	}
	free(path);
	return rc;
}
