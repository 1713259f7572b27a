/* judge.c - is this batch valid in this state? The whole safety argument of the journal.
 *
 *   CLAIM(e,w)    valid iff e > epoch                    epoch, writer = e, w; seq = 0
 *   BATCH(e,w,s)  valid iff e, w own and s == seq + 1    seq = s
 *   RELEASE(e,w)  valid iff e, w own                     a clean hand-over
 *
 *   COMMAND       never valid                           nothing: it asks, the owner's batch decides
 *
 * Every reader folds to the same state: a repeated batch is ignored by its seq, a late one of an
 * earlier owner by its epoch. To the fold a command is one of those: a record that stands in the
 * log and is passed over, as the models have it (tests/model). Deliberately not here: what the
 * items do. */
#include "postern/journal.h"

static bool owns(const struct journal_state *state, const struct journal_header *header)
{
	/* Before the first claim nobody owns. */
	return state->epoch != 0 && header->epoch == state->epoch &&
	       memcmp(header->writer, state->writer, WRITER_LEN) == 0;
}

bool journal_judge(struct journal_state *state, const struct journal_header *header)
{
	switch (header->type) {
	case JOURNAL_CLAIM:
		if (header->epoch <= state->epoch)
			return false;
		*state = (struct journal_state){ .epoch = header->epoch };
		memcpy(state->writer, header->writer, WRITER_LEN);
		return true;
	case JOURNAL_BATCH:
		if (!owns(state, header) || header->seq != state->seq + 1)
			return false;
		state->seq = header->seq;
		state->released = false; /* who goes on working has not handed over */
		return true;
	case JOURNAL_RELEASE:
		if (!owns(state, header))
			return false;
		state->released = true;
		return true;
	case JOURNAL_COMMAND: return false;
	}
	return false;
}
