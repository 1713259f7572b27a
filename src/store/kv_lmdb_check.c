/* kv_lmdb_check.c - is this file one that LMDB can walk without falling over?
 *
 * LMDB maps the file and trusts it: a page that rotted, or a file that was cut off, ends in a
 * signal. So before the file is mapped, every page that holds structure (roots, branches, leaves,
 * the first of an overflow run) is read and its numbers are checked. What rots in the values is
 * found by the checksum of each row. The layout is that of LMDB 0.9 on this kind of machine; a file
 * of another version is left to LMDB to refuse.
 *
 * A process may write meanwhile (a command that only reads): then the root moves on, and the walk
 * is made again. Deliberately not here: any repair. */
#include "kv_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_HEADER LMDB_PAGE_HEADER
#define NODE_HEADER 8
#define META_VERSION 1
#define DEPTH_MAX 32
#define WALK_TRIES 5
#define NO_PAGE UINT64_MAX
#define KEY_LEN_MAX 511

enum page_flag { PAGE_BRANCH = 0x01, PAGE_LEAF = 0x02, PAGE_OVERFLOW = 0x04, PAGE_META = 0x08 };
enum node_flag { NODE_BIG = 0x01, NODE_TABLE = 0x02 };

/* Places in a page, a node, the description of a tree, and a root page. */
enum {
	PAGE_NUMBER = 0,
	PAGE_FLAGS = 10,
	PAGE_LOWER = 12,
	PAGE_UPPER = 14,
	PAGE_RUN = 12, /* of an overflow page: how many pages, u32 */

	NODE_LOW = 0,
	NODE_HIGH = 2,
	NODE_FLAGS = 4,
	NODE_KEY_LEN = 6,

	TREE_LEN = 48,
	TREE_DEPTH = 6,
	TREE_ROOT = 40,

	META_AT_MAGIC = PAGE_HEADER,
	META_AT_VERSION = PAGE_HEADER + 4,
	META_AT_FREE = PAGE_HEADER + 24, /* description of the tree of free pages */
	META_AT_MAIN = META_AT_FREE + TREE_LEN,
	META_AT_LAST = META_AT_MAIN + TREE_LEN,
	META_AT_TXN = META_AT_LAST + 8,
	META_LEN = META_AT_TXN + 8,
};

struct walk {
	int fd;
	size_t page_size;
	uint64_t pages; /* as many as the root counts */
	uint64_t txn;
	bool main; /* in the main tree: its leaves describe tables */
	bool free; /* in the tree of free pages: a branch may have one node */
	uint8_t tree_free[TREE_LEN], tree_main[TREE_LEN];
	struct err *err;
};

static enum err_code broken(const struct walk *walk, uint64_t page, const char *what)
{
	return err_set(walk->err, ERR_CORRUPT,
		"page %llu of the store is damaged (%s): restore the data directory",
		(unsigned long long)page, what);
}

static enum err_code read_page(const struct walk *walk, uint64_t number, uint8_t *out, size_t len)
{
	ssize_t got;

	if (number < 2 || number >= walk->pages)
		return broken(walk, number, "a number out of range");
	got = pread(walk->fd, out, len, (off_t)(number * walk->page_size));
	if (got < 0)
		return err_sys(walk->err, ERR_IO, errno, "reading the store");
	if ((size_t)got != len)
		return broken(walk, number, "the file ends before it");
	if (get_le64(out + PAGE_NUMBER) != number)
		return broken(walk, number, "it is another page");
	return ERR_OK;
}

static enum err_code walk_page(struct walk *walk, uint64_t number, unsigned depth);

static enum err_code walk_tree(struct walk *walk, const uint8_t *tree)
{
	uint64_t root = get_le64(tree + TREE_ROOT);
	unsigned depth = get_le16(tree + TREE_DEPTH);

	if (root == NO_PAGE)
		return ERR_OK;
	if (depth == 0 || depth > DEPTH_MAX)
		return broken(walk, root, "an impossible depth");
	return walk_page(walk, root, depth);
}

static enum err_code check_overflow(const struct walk *walk, const uint8_t *node, size_t key_len)
{
	size_t len = get_le16(node + NODE_LOW) | (size_t)get_le16(node + NODE_HIGH) << 16;
	uint64_t first = get_le64(node + NODE_HEADER + key_len);
	uint8_t header[PAGE_HEADER];
	uint64_t run;
	enum err_code rc = read_page(walk, first, header, sizeof(header));

	if (rc != ERR_OK)
		return rc;
	run = get_le32(header + PAGE_RUN);
	if (get_le16(header + PAGE_FLAGS) != PAGE_OVERFLOW || run == 0 ||
		run > walk->pages - first || len + PAGE_HEADER > run * walk->page_size)
		return broken(walk, first, "no overflow page");
	return ERR_OK;
}

static enum err_code walk_leaf_node(
	struct walk *walk, uint64_t number, const uint8_t *node, size_t room)
{
	size_t key_len = get_le16(node + NODE_KEY_LEN);
	unsigned flags = get_le16(node + NODE_FLAGS);
	size_t len = get_le16(node + NODE_LOW) | (size_t)get_le16(node + NODE_HIGH) << 16;
	uint8_t tree[TREE_LEN];
	enum err_code rc;

	if (key_len > KEY_LEN_MAX || (flags & ~(unsigned)(NODE_BIG | NODE_TABLE)) != 0)
		return broken(walk, number, "a node of no known kind");
	if (NODE_HEADER + key_len + (flags & NODE_BIG ? sizeof(uint64_t) : len) > room)
		return broken(walk, number, "a node beyond its page");
	if (flags & NODE_BIG)
		return check_overflow(walk, node, key_len);
	if (!(flags & NODE_TABLE))
		return ERR_OK;
	if (!walk->main || len != TREE_LEN)
		return broken(walk, number, "a table where none can be");
	memcpy(tree, node + NODE_HEADER + key_len, TREE_LEN);
	walk->main = false; /* a table has no tables */
	rc = walk_tree(walk, tree);
	walk->main = true;
	return rc;
}

static enum err_code walk_node(
	struct walk *walk, uint64_t number, const uint8_t *page, size_t at, unsigned depth)
{
	const uint8_t *node = page + at;
	size_t room = walk->page_size - at;
	uint64_t child;

	if (depth == 1)
		return walk_leaf_node(walk, number, node, room);
	if (NODE_HEADER + (size_t)get_le16(node + NODE_KEY_LEN) > room ||
		get_le16(node + NODE_KEY_LEN) > KEY_LEN_MAX)
		return broken(walk, number, "a node beyond its page");
	child = get_le16(node + NODE_LOW) | (uint64_t)get_le16(node + NODE_HIGH) << 16 |
		(uint64_t)get_le16(node + NODE_FLAGS) << 32;
	return walk_page(walk, child, depth - 1);
}

static enum err_code walk_nodes(
	struct walk *walk, uint64_t number, const uint8_t *page, unsigned depth)
{
	size_t lower = get_le16(page + PAGE_LOWER), upper = get_le16(page + PAGE_UPPER);
	enum err_code rc = ERR_OK;

	if (lower < PAGE_HEADER || lower % 2 != 0 || lower > upper || upper > walk->page_size)
		return broken(walk, number, "impossible bounds");
	if (lower == PAGE_HEADER || (depth > 1 && !walk->free && lower < PAGE_HEADER + 4))
		return broken(walk, number, "too few nodes");
	for (size_t at = PAGE_HEADER; at < lower && rc == ERR_OK; at += 2) {
		size_t node = get_le16(page + at);

		if (node < upper || node % 2 != 0 || node + NODE_HEADER > walk->page_size)
			return broken(walk, number, "a node out of place");
		rc = walk_node(walk, number, page, node, depth);
	}
	return rc;
}

static enum err_code walk_page(struct walk *walk, uint64_t number, unsigned depth)
{
	uint8_t *page = malloc(walk->page_size);
	enum err_code rc;

	if (!page)
		return err_set(walk->err, ERR_NOMEM, "no memory to check the store");
	rc = read_page(walk, number, page, walk->page_size);
	if (rc == ERR_OK && get_le16(page + PAGE_FLAGS) != (depth > 1 ? PAGE_BRANCH : PAGE_LEAF))
		rc = broken(walk, number, "another kind of page than its place wants");
	if (rc == ERR_OK)
		rc = walk_nodes(walk, number, page, depth);
	free(page);
	return rc;
}

/* The root is the newer of the first two pages. ERR_UNSUPPORTED: not a layout that is known here.
 */
static enum err_code read_root(struct walk *walk)
{
	size_t at = 0;

	walk->txn = 0;
	for (int i = 0; i < 2; i++) {
		uint8_t page[META_LEN];
		uint64_t txn;

		if (pread(walk->fd, page, sizeof(page), (off_t)at) != (ssize_t)sizeof(page))
			return err_set(walk->err, ERR_CORRUPT,
				"the store's file ends within its first pages");
		if (!(get_le16(page + PAGE_FLAGS) & PAGE_META) ||
			get_le32(page + META_AT_MAGIC) != LMDB_MAGIC)
			return err_set(walk->err, ERR_CORRUPT, "the store's file is no store");
		if (get_le32(page + META_AT_VERSION) != META_VERSION)
			return ERR_UNSUPPORTED;
		txn = get_le64(page + META_AT_TXN);
		if (i == 0) {
			walk->page_size = get_le32(page + META_AT_FREE);
			at = walk->page_size;
			if (at < 512 || at > KIB(64) || (at & (at - 1)) != 0)
				return err_set(
					walk->err, ERR_CORRUPT, "the store has no page size");
		}
		if (i == 0 || txn > walk->txn) {
			walk->txn = txn;
			walk->pages = get_le64(page + META_AT_LAST) + 1;
			memcpy(walk->tree_free, page + META_AT_FREE, TREE_LEN);
			memcpy(walk->tree_main, page + META_AT_MAIN, TREE_LEN);
		}
	}
	return ERR_OK;
}

static enum err_code walk_file(struct walk *walk)
{
	enum err_code rc = read_root(walk);

	if (rc != ERR_OK)
		return rc;
	walk->main = false;
	walk->free = true;
	rc = walk_tree(walk, walk->tree_free);
	walk->main = true;
	walk->free = false;
	return rc == ERR_OK ? walk_tree(walk, walk->tree_main) : rc;
}

enum err_code lmdb_check_file(const char *path, struct err *err)
{
	struct err failed = ERR_INIT;
	struct walk walk = { .err = &failed };
	uint64_t txn = 0;
	enum err_code rc = ERR_OK;

	walk.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (walk.fd < 0)
		return err_sys(err, ERR_IO, errno, path);
	for (int i = 0; i < WALK_TRIES; i++) {
		err_clear(&failed);
		rc = walk_file(&walk);
		if (rc != ERR_CORRUPT || (i > 0 && walk.txn == txn))
			break;
		txn = walk.txn;
	}
	(void)close(walk.fd);
	if (rc == ERR_OK || rc == ERR_UNSUPPORTED)
		return ERR_OK;
	return err_set(err, rc, "%s", failed.text);
}
