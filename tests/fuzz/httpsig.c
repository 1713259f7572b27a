/* httpsig.c - fuzz target: what anybody may write into the fields of an HTTP message signature.
 *
 * Input: lines: Signature-Input, Signature, Content-Digest, another field; the rest is the body.
 * Properties: what was read lies in its buffers; the canonical form of a field is its own canonical
 * form; a base has one line for each component, and ends with the parameters; no digest holds for
 * a body and for the same body with a byte more. */
#include "../../src/scheme/httpsig.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct slice next_line(struct slice *text)
{
	struct slice line = slice_sub(*text, 0, slice_find(*text, '\n'));

	*text = slice_sub(*text, line.len + 1, text->len);
	return line;
}

static void lies_within(struct slice part, const struct buf *whole)
{
	must(part.len == 0 ||
		(part.data >= whole->data && part.data + part.len <= whole->data + whole->len));
}

static bool canonical(struct slice field, struct buf *out)
{
	struct buf text = BUF_INIT(KIB(64));
	struct sfv p = { .rest = field, .canon = out, .text = &text };
	bool ok;

	*out = BUF_INIT(KIB(64));
	must(buf_reserve(out, 2 * field.len + 64, NULL) == ERR_OK);
	must(buf_reserve(&text, 2 * field.len + 64, NULL) == ERR_OK);
	ok = sfv_dictionary(&p);
	buf_done(&text);
	return ok;
}

static void try_canonical(struct slice field)
{
	struct buf once, twice;

	if (canonical(field, &once)) {
		must(canonical(buf_slice(&once), &twice));
		must(slice_eq(buf_slice(&once), buf_slice(&twice)));
		buf_done(&twice);
	}
	buf_done(&once);
}

static void try_digest(struct slice field, struct slice body)
{
	if (body.len == 0 || content_digest_refuse(field, body) != NULL)
		return;
	must(content_digest_refuse(field, slice_sub(body, 0, body.len - 1)) != NULL);
}

static size_t count_lines(struct slice s)
{
	size_t lines = 1;

	for (size_t i = 0; i < s.len; i++)
		lines += s.data[i] == '\n';
	return lines;
}

static void try_base(const struct httpsig_label *label, const struct scheme_request *rq)
{
	struct buf base = BUF_INIT(HTTPSIG_BASE_MAX), text = BUF_INIT(KIB(8));
	struct httpsig_target target;
	struct slice component;

	httpsig_target(rq, SLICE_LIT("https://Hooks.Example:443/hooks/s"), &text, &target);
	if (httpsig_base(rq, &target, label, &base, &component) == NULL) {
		must(count_lines(buf_slice(&base)) == label->count + 1);
		must(slice_eq(slice_sub(buf_slice(&base), base.len - label->params.len,
				      label->params.len),
			label->params));
	}
	buf_done(&base);
	buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct httpsig_input in;
	struct slice rest = { data, size };
	struct slice input = next_line(&rest), signature = next_line(&rest);
	struct header headers[] = {
		{ SLICE_LIT("Content-Digest"), next_line(&rest) },
		{ SLICE_LIT("Priority"), next_line(&rest) },
		{ SLICE_LIT("Host"), SLICE_LIT("hooks.example") },
	};
	struct scheme_request rq = { .method = SLICE_LIT("POST"),
		.path = SLICE_LIT("/hooks/s"),
		.query = headers[1].value,
		.has_query = true,
		.headers = headers,
		.header_count = ARRAY_LEN(headers),
		.body = rest };

	if (size > KIB(32))
		return 0;
	try_canonical(headers[1].value);
	try_digest(headers[0].value, rest);
	if (httpsig_read(input, signature, &in) == NULL) {
		must(in.count > 0 && in.count <= HTTPSIG_LABELS_MAX);
		for (size_t i = 0; i < in.count; i++) {
			lies_within(in.labels[i].params, &in.canon);
			lies_within(in.labels[i].signature, &in.text);
			lies_within(in.labels[i].kid, &in.text);
			try_base(&in.labels[i], &rq);
		}
	}
	httpsig_input_done(&in);
	return 0;
}

#include "replay_main.inc"
