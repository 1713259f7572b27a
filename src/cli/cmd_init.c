/* cmd_init.c - init: a config that works as it is, with fresh keys, and what to tell the senders.
 *
 *   names and presets -> texts of all files, in memory -> nothing may exist -> keys, schema, config
 *
 * The config is written last: where there is one, init was whole. */
#include "commands.h"
#include "preset_needs.h"

#include "postern/file.h"
#include "postern/json.h"
#include "postern/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCES_MAX 128
#define KEY_BYTES 32
#define TEXT_MAX MIB(1)
#define URL_BASE "http://127.0.0.1:8080/hooks/"
#define KEYS_DIR "keys"
#define SYSTEM_DIR "/etc/"
#define SYSTEM_DATA "/var/lib/postern" /* the StateDirectory of the units in systemd/ */

struct source {
	struct slice name;
	const char *preset;
	struct preset_needs needs;
	char secret[NEEDS_TEXT_MAX]; /* wiped when it was written and shown; "": there is none */
};

struct init {
	const char *dir;
	struct source sources[SOURCES_MAX];
	size_t count;
	char *written[SOURCES_MAX * (1 + NEEDS_SECRETS_MAX) +
		      3]; /* taken away again when a later file fails */
	size_t written_count;
};

/* ---- what was asked for ------------------------------------------------------------------------
 */

static int no_preset(const struct cli *cli, const char *given)
{
	struct buf list = BUF_INIT(KIB(8));
	const char *nearest = NULL;
	unsigned best = 3;
	int status;

	for (size_t i = 0; i < preset_count(); i++) {
		unsigned distance = text_distance(slice_str(given), slice_str(preset_name(i)));

		nearest = distance < best ? preset_name(i) : nearest;
		best = distance < best ? distance : best;
		err_ignored(buf_putf(&list, NULL, "%s%s", i ? ", " : "", preset_name(i)));
	}
	status = nearest ? cli_usage(cli, "there is no preset \"%s\"; did you mean \"%s\"?", given,
				   nearest)
			 : cli_usage(cli, "there is no preset \"%s\"; there are %s", given,
				   buf_str(&list));
	buf_done(&list);
	return status;
}

/* "NAME=PRESET", or a preset that gives the source its name. */
static int add_source(const struct cli *cli, struct init *init, const char *arg)
{
	const char *equals = strchr(arg, '=');
	const char *preset = equals ? equals + 1 : arg;
	struct source *source = &init->sources[init->count];
	struct err err = ERR_INIT;

	if (init->count == SOURCES_MAX)
		return cli_usage(cli, "at most %d sources", SOURCES_MAX);
	source->name = equals ? (struct slice){ (const uint8_t *)arg, (size_t)(equals - arg) }
			      : slice_str(arg);
	for (size_t i = 0; i < preset_count(); i++) {
		if (strcmp(preset_name(i), preset) == 0)
			source->preset = preset_name(i);
	}
	if (!source->preset)
		return no_preset(cli, preset);
	if (!config_name_is_sane(source->name))
		return cli_usage(cli,
			"\"%.*s\" is no name of a source: 1 to 64 of A-Z a-z 0-9 . _ -",
			SLICE_FMT(source->name));
	for (size_t i = 0; i < init->count; i++) {
		if (slice_eq(init->sources[i].name, source->name))
			return cli_usage(
				cli, "two sources named \"%.*s\"", SLICE_FMT(source->name));
	}
	if (preset_needs_of(source->preset, &source->needs, &err) != ERR_OK)
		return cli_fail(&err);
	init->count++;
	return 0;
}

static int read_args(const struct cli *cli, struct init *init)
{
	const char *dir = cli_get(cli, "--dir");
	int status = 0;

	init->dir = dir ? dir : ".";
	if (cli->arg_count == 0)
		return add_source(cli, init, "demo=standard-webhooks");
	for (int i = 0; status == 0 && i < cli->arg_count; i++)
		status = add_source(cli, init, cli->args[i]);
	return status;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static void make_token(char out[2 * KEY_BYTES + 1])
{
	uint8_t bytes[KEY_BYTES];

	random_bytes(bytes, sizeof(bytes));
	text_hex(bytes, sizeof(bytes), out);
	explicit_bzero(bytes, sizeof(bytes));
}

/* ---- the config --------------------------------------------------------------------------------
 */

/* A source of this name is there to try things with, so it maps what its preset leaves open. */
static const char demo_mapping[] =
	",\n      \"entity\": \"json:/entity\", \"version\": \"json:/version\"";

static enum err_code put_secrets(struct buf *out, const struct source *source, struct err *err)
{
	enum err_code rc = buf_put_str(out, ",\n      \"secrets\": {", err);

	for (size_t i = 0; rc == ERR_OK && i < source->needs.secret_count; i++)
		rc = buf_putf(out, err, "%s\"%s\": {\"file\": \"" KEYS_DIR "/%.*s.%s\"}",
			i > 0 ? ", " : "", source->needs.secrets[i], SLICE_FMT(source->name),
			source->needs.secrets[i]);
	return rc == ERR_OK ? buf_put_str(out, "}", err) : rc;
}

static enum err_code put_source(
	struct buf *out, const struct source *source, bool last, struct err *err)
{
	bool demo = slice_eq_str(source->name, "demo");
	enum err_code rc = buf_putf(out, err, "    \"%.*s\": {\n      \"preset\": \"%s\"%s",
		SLICE_FMT(source->name), source->preset, demo ? demo_mapping : "");

	/* The address that this machine has; a sender outside signs another one. */
	if (rc == ERR_OK && source->needs.public_url)
		rc = buf_putf(out, err, ",\n      \"public_url\": \"" URL_BASE "%.*s\"",
			SLICE_FMT(source->name));
	if (rc == ERR_OK && source->needs.secret_count > 0)
		rc = put_secrets(out, source, err);
	if (rc == ERR_OK && source->needs.key != KEY_NONE)
		rc = buf_putf(out, err,
			",\n      \"keys\": [{\"file\": \"" KEYS_DIR
			"/%.*s.key\", \"role\": \"current\"}]",
			SLICE_FMT(source->name));
	return rc == ERR_OK ? buf_putf(out, err, "\n    }%s\n", last ? "" : ",") : rc;
}

/* Data does not belong beside a config of the system. */
static const char *data_dir(const struct init *init)
{
	char *whole = realpath(init->dir, NULL);
	bool of_system = whole && strncmp(whole, SYSTEM_DIR, strlen(SYSTEM_DIR)) == 0;

	free(whole);
	return of_system ? SYSTEM_DATA : "data";
}

static enum err_code put_config(struct buf *out, const struct init *init, struct err *err)
{
	enum err_code rc = buf_putf(out, err,
		"{\n"
		"  \"$schema\": \"postern.schema.json\",\n"
		"  \"//\": \"Members like this one are comments. postern lint checks this "
		"file;\",\n"
		"  \"// options\": \"postern config explain /ingress/max_body_bytes says what an "
		"option "
		"is.\",\n"
		"  \"data_dir\": \"%s\",\n"
		"  \"ingress\": {\"listen\": \"127.0.0.1:8080\"},\n"
		"  \"admin\": {\"listen\": \"127.0.0.1:8081\", \"token_file\": "
		"\"keys/admin.token\"},\n"
		"  \"sources\": {\n",
		data_dir(init));

	for (size_t i = 0; rc == ERR_OK && i < init->count; i++)
		rc = put_source(out, &init->sources[i], i + 1 == init->count, err);
	if (rc == ERR_OK)
		rc = buf_put_str(out,
			"  },\n"
			"  \"routes\": [\n"
			"    {\n"
			"      \"//\": \"The first route that fits takes an event. To hand events "
			"on:\",\n"
			"      \"// handler\": {\"type\": \"http\", \"url\": "
			"\"http://127.0.0.1:9000/events\"},\n"
			"      \"name\": \"rest\", \"match\": {}, \"handler\": {\"type\": "
			"\"none\"}\n"
			"    }\n"
			"  ]\n"
			"}\n",
			err);
	return rc;
}

/* ---- files -------------------------------------------------------------------------------------
 */

static enum err_code path_of(
	const struct init *init, struct slice name, const char *ending, char **out, struct err *err)
{
	int len = asprintf(out, "%s/%.*s%s", init->dir, SLICE_FMT(name), ending);

	return len < 0 ? err_set(err, ERR_NOMEM, "init: no memory") : ERR_OK;
}

static enum err_code write_one(
	struct init *init, const char *name, struct slice text, unsigned mode, struct err *err)
{
	char *path = NULL;
	enum err_code rc = path_of(init, slice_str(name), "", &path, err);

	assert(init->written_count < ARRAY_LEN(init->written));
	if (rc == ERR_OK)
		rc = file_write_new(path, text, mode, err);
	if (rc == ERR_OK)
		init->written[init->written_count++] = path;
	else
		free(path);
	return rc;
}

/* Root writes for whoever owns the directory of keys: the daemon, which does not run as root. The
 * file is looked at again, for that owner may change what stands there. */
static enum err_code give_away(const struct init *init, const char *name, struct err *err)
{
	char *dir = NULL, *path = NULL;
	struct stat owner, file;
	enum err_code rc = path_of(init, SLICE_LIT(KEYS_DIR), "", &dir, err);
	int fd = -1;

	if (rc == ERR_OK)
		rc = path_of(init, slice_str(name), "", &path, err);
	if (rc == ERR_OK) {
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || stat(dir, &owner) != 0 || fstat(fd, &file) != 0 ||
			file.st_nlink != 1 || fchown(fd, owner.st_uid, owner.st_gid) != 0)
			rc = err_sys(err, ERR_IO, errno, path);
	}
	if (fd >= 0)
		(void)close(fd);
	free(dir);
	free(path);
	return rc;
}

/* A secret and one newline, in a file of its own. */
static enum err_code write_secret(
	struct init *init, const char *name, const char *secret, struct err *err)
{
	struct buf text = BUF_INIT(NEEDS_TEXT_MAX + 2);
	/* Growing would leave copies. */
	enum err_code rc = buf_reserve(&text, NEEDS_TEXT_MAX + 1, err);

	if (rc == ERR_OK)
		rc = buf_putf(&text, err, "%s\n", secret);
	if (rc == ERR_OK)
		rc = write_one(init, name, buf_slice(&text), 0600, err);
	if (rc == ERR_OK && geteuid() == 0)
		rc = give_away(init, name, err);
	buf_wipe(&text);
	buf_done(&text);
	return rc;
}

/* The words that a source's scheme compares with. */
static enum err_code write_words(struct init *init, const struct source *source, struct err *err)
{
	char token[2 * KEY_BYTES + 1], name[200];
	enum err_code rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < source->needs.secret_count; i++) {
		(void)snprintf(name, sizeof(name), KEYS_DIR "/%.*s.%s", SLICE_FMT(source->name),
			source->needs.secrets[i]);
		make_token(token);
		rc = write_secret(init, name, token, err);
	}
	explicit_bzero(token, sizeof(token));
	return rc;
}

static enum err_code write_source_keys(struct init *init, struct source *source, struct err *err)
{
	char name[100];
	enum err_code rc = ERR_OK;

	(void)snprintf(name, sizeof(name), KEYS_DIR "/%.*s.key", SLICE_FMT(source->name));
	if (source->needs.key != KEY_NONE)
		rc = preset_make_key(source->preset, source->secret, err);
	if (rc == ERR_OK && source->needs.key != KEY_NONE)
		rc = write_secret(init, name, source->secret, err);
	return rc == ERR_OK ? write_words(init, source, err) : rc;
}

static enum err_code write_keys(struct init *init, struct err *err)
{
	char token[2 * KEY_BYTES + 1];
	enum err_code rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < init->count; i++)
		rc = write_source_keys(init, &init->sources[i], err);
	make_token(token);
	if (rc == ERR_OK)
		rc = write_secret(init, "keys/admin.token", token, err);
	explicit_bzero(token, sizeof(token));
	return rc;
}

static enum err_code write_texts(struct init *init, struct err *err)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	enum err_code rc = config_schema(&text, err);

	if (rc == ERR_OK)
		rc = write_one(init, "postern.schema.json", buf_slice(&text), 0644, err);
	buf_reset(&text);
	if (rc == ERR_OK)
		rc = put_config(&text, init, err);
	if (rc == ERR_OK)
		rc = write_one(init, "postern.json", buf_slice(&text), 0644, err);
	buf_done(&text);
	return rc;
}

static enum err_code must_be_free(
	const struct init *init, struct slice name, const char *ending, struct err *err)
{
	char *path = NULL;
	enum err_code rc = path_of(init, name, ending, &path, err);

	if (rc == ERR_OK && access(path, F_OK) == 0)
		rc = err_set(err, ERR_LOCKED, "%s is there already; nothing was written", path);
	free(path);
	return rc;
}

static enum err_code check_free(const struct init *init, struct err *err)
{
	static const char *const names[] = { "postern.json", "postern.schema.json",
		"keys/admin.token" };
	enum err_code rc = ERR_OK;
	char name[100];

	for (size_t i = 0; rc == ERR_OK && i < ARRAY_LEN(names); i++)
		rc = must_be_free(init, slice_str(names[i]), "", err);
	for (size_t i = 0; rc == ERR_OK && i < init->count; i++) {
		(void)snprintf(name, sizeof(name), "keys/%.*s", SLICE_FMT(init->sources[i].name));
		rc = must_be_free(init, slice_str(name), ".key", err);
	}
	return rc;
}

static enum err_code write_all(struct init *init, struct err *err)
{
	char *keys = NULL;
	enum err_code rc = check_free(init, err);

	if (rc == ERR_OK)
		rc = path_of(init, SLICE_LIT(KEYS_DIR), "", &keys, err);
	if (rc == ERR_OK)
		rc = file_make_dirs(keys, err);
	if (rc == ERR_OK)
		rc = write_keys(init, err);
	if (rc == ERR_OK)
		rc = write_texts(init, err);
	free(keys);
	for (size_t i = 0; rc != ERR_OK && i < init->written_count; i++)
		(void)unlink(init->written[i]);
	return rc;
}

/* ---- what to tell ------------------------------------------------------------------------------
 */

/* Is the secret ours to give? Some senders tell theirs. */
static bool gives_secret(const struct source *source)
{
	return source->needs.key == KEY_SECRET && !source->needs.learns;
}

static void print_json(const struct source *source)
{
	struct buf line = BUF_INIT(KIB(4));
	char text[200];

	err_ignored(buf_put_u8(&line, '{', NULL));
	err_ignored(json_put_str(&line, "source", source->name, NULL));
	err_ignored(json_put_str(&line, "preset", slice_str(source->preset), NULL));
	(void)snprintf(text, sizeof(text), URL_BASE "%.*s", SLICE_FMT(source->name));
	err_ignored(json_put_str(&line, "url", slice_str(text), NULL));
	(void)snprintf(text, sizeof(text), "keys/%.*s.key", SLICE_FMT(source->name));
	err_ignored(json_put_str(&line, "key_file", slice_str(text), NULL));
	if (gives_secret(source))
		err_ignored(json_put_str(&line, "secret", slice_str(source->secret), NULL));
	else
		err_ignored(json_put_raw(&line, "secret", SLICE_LIT("null"), NULL));
	err_ignored(json_put_bool(&line, "learns", source->needs.learns, NULL));
	err_ignored(buf_put_str(&line, "}\n", NULL));
	cli_out(buf_slice(&line));
	buf_wipe(&line);
	buf_done(&line);
}

static void print_source(const struct cli *cli, const struct source *source)
{
	if (cli->json) {
		print_json(source);
		return;
	}
	cli_outf("%.*s (%s)\n", SLICE_FMT(source->name), source->preset);
	cli_outf("  url     " URL_BASE "%.*s\n", SLICE_FMT(source->name));
	if (source->needs.learns)
		cli_outf("  key     its sender tells it: postern learn %.*s --for 5m, before you "
			 "subscribe\n",
			SLICE_FMT(source->name));
	else if (gives_secret(source))
		cli_outf("  secret  %s\n", source->secret);
	else if (source->needs.key == KEY_PUBLIC)
		cli_outf("  key     put the sender's public key into " KEYS_DIR "/%.*s.key\n",
			SLICE_FMT(source->name));
}

/* Root would run it with files of its own, which the daemon's user could not open afterwards. */
static bool is_for_a_service(const struct init *init)
{
	struct stat owner;
	char *dir = NULL;
	bool is_it;

	if (geteuid() != 0 || path_of(init, SLICE_LIT(KEYS_DIR), "", &dir, NULL) != ERR_OK)
		return false;
	is_it = stat(dir, &owner) == 0 && owner.st_uid != 0;
	free(dir);
	return is_it;
}

static void tell(const struct cli *cli, const struct init *init)
{
	for (size_t i = 0; i < init->count; i++)
		print_source(cli, &init->sources[i]);
	fprintf(stderr,
		"Wrote %s/postern.json, its schema and keys/.\n"
		"Give each sender its URL, as it is reached from outside, and its secret. A sender "
		"that\nmakes the secret itself: put that one into keys/NAME.key instead.\n",
		init->dir);
	if (is_for_a_service(init))
		fputs("Next: systemctl enable --now postern.socket postern.service\n", stderr);
	else
		fprintf(stderr, "Next: postern -c %s/postern.json run\n", init->dir);
}

static int run_init(struct cli *cli)
{
	struct init *init = calloc(1, sizeof(*init));
	struct err err = ERR_INIT;
	int status;

	if (!init) {
		(void)err_set(&err, ERR_NOMEM, "init: no memory");
		return cli_fail(&err);
	}
	status = read_args(cli, init);
	if (status == 0 && write_all(init, &err) != ERR_OK)
		status = cli_fail(&err);
	else if (status == 0)
		tell(cli, init);
	for (size_t i = 0; i < init->written_count; i++)
		free(init->written[i]);
	explicit_bzero(init, sizeof(*init));
	free(init);
	return status;
}

static const struct cli_option options[] = {
	{ "--dir", "DIR", "where to write (default: here)" },
	{ 0 },
};

const struct command cmd_init = {
	.words = "init",
	.usage = "[[NAME=]PRESET...] [--dir DIR] [--json]",
	.summary =
		"write a config that works as it is, with fresh keys; without a preset: a source "
		"named demo",
	.examples = "  postern init\n"
		    "  postern init github\n"
		    "  postern init demo=standard-webhooks shop=shopify --dir /etc/postern\n",
	.options = options,
	.args_max = -1,
	.run = run_init,
};
