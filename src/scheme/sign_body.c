/* sign_body.c - the sender's side: a body of the shape that the scheme expects.
 *
 * A body that is to stay as it is has its shape already. Deliberately not here: the values in it
 * (place.c). */
#include "sign_priv.h"
#include "postern/text.h"

/* The field's value takes the body's place, where the body is such a form. */
static enum err_code unwrap(struct sender *d)
{
	const struct slice name = { (const uint8_t *)d->s->form.text, d->s->form.len };
	struct buf text = BUF_INIT(d->out->body.max);
	struct slice value;
	enum err_code rc = buf_reserve(&text, SCRATCH_MAX + 2 * d->out->body.len, d->err);

	if (rc == ERR_OK && form_find(buf_slice(&d->out->body), name, &text, &value) == FOUND) {
		struct buf made = BUF_INIT(d->out->body.max);

		rc = buf_put_slice(&made, value, d->err);
		if (rc == ERR_OK)
			buf_swap(&d->out->body, &made);
		buf_done(&made);
	}
	buf_done(&text);
	return rc;
}

/* {"events":[BODY]}, or [BODY]. */
static enum err_code put_into_array(struct sender *d)
{
	struct buf made = BUF_INIT(d->out->body.max), array = BUF_INIT(d->out->body.max);
	const char *pointer = d->s->items.text;
	enum err_code rc = buf_put_u8(&array, '[', d->err);

	if (rc == ERR_OK)
		rc = buf_put_slice(&array, buf_slice(&d->out->body), d->err);
	if (rc == ERR_OK)
		rc = buf_put_u8(&array, ']', d->err);
	if (rc == ERR_OK && *pointer) {
		rc = buf_put_str(&made, "{}", d->err);
		if (rc == ERR_OK)
			rc = fill_member(&made, pointer, buf_slice(&array), d->err);
	} else if (rc == ERR_OK) {
		buf_swap(&made, &array);
	}
	if (rc == ERR_OK)
		buf_swap(&d->out->body, &made);
	buf_done(&made);
	buf_done(&array);
	return rc;
}

enum err_code sign_shape_body(struct sender *d)
{
	struct json_value array;
	enum err_code rc = ERR_OK;

	if (!d->draft->fill_body)
		return ERR_OK;
	if (d->s->has_form)
		rc = unwrap(d);
	/* What is no JSON is the user's choice. */
	if (rc != ERR_OK || !d->s->splits ||
		json_get(buf_slice(&d->out->body), d->s->items.text, &array, NULL) != ERR_OK ||
		array.type == JSON_ARRAY)
		return rc;
	return put_into_array(d);
}

enum err_code sign_wrap_body(struct sender *d)
{
	const struct slice name = { (const uint8_t *)d->s->form.text, d->s->form.len };
	struct buf made = BUF_INIT(d->out->body.max);
	enum err_code rc;

	if (!d->s->has_form || !d->draft->fill_body)
		return ERR_OK;
	rc = place_param(&made, name, buf_slice(&d->out->body), d->err);
	if (rc == ERR_OK)
		buf_swap(&d->out->body, &made);
	buf_done(&made);
	return rc;
}
