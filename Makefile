# postern. The targets a person uses:
#
#   make run      set the machine up, build, create data/ once, serve on 127.0.0.1:8080
#   make test     set the machine up, build, run every suite
#   make check    unit and contract tests and the fuzz corpora: plain, asan+ubsan, tsan
#   make bench    the table of ratios against peers       make torture   the long fault runs
#   make fuzz     each fuzz target for FUZZ_SECONDS       make lint      format, layers, tidy, cppcheck
#   make model    every order of steps of the journal's protocol, tried by spin (tests/model)
#   make coverage of the pure files, and which branches of decide, retry and admit no test takes
#   make install  DESTDIR= prefix=/usr/local              make compdb    compile_commands.json
#
# Variants: CC=gcc|clang-14, SAN=asan|tsan (nothing: plain). Each has its own build directory.
# ROOMS="base queue" restricts a build to some rooms, for work on one of them.

CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN ?=
BUILD ?= build$(if $(SAN),/$(SAN))$(if $(findstring clang,$(CC)),/clang)
ROOMS ?= $(notdir $(wildcard src/*))
VERSION := $(shell cat VERSION)
prefix ?= /usr/local

# ---- flags -------------------------------------------------------------------------------------

STD := -std=gnu17 -D_GNU_SOURCE -Iinclude -I$(BUILD)/gen -DPOSTERN_VERSION='"$(VERSION)"'
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wcast-align -Wwrite-strings -Wformat=2 -Wvla -Wundef -Wswitch-enum -Wconversion \
	-Wold-style-definition -Wredundant-decls -Wnested-externs -Wdouble-promotion -Wimplicit-fallthrough
# Lengths and indexes mix size_t and int at every library's border: the sign check finds nothing there.
WARN += -Wno-sign-conversion
WARN_gcc := -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wtrampolines -Walloca \
	-Warray-bounds=2 -Wstringop-overflow=4
# What gcc knows about ranges is lost in its sanitizers: the plain build looks at lengths of text.
WARN_gcc += $(if $(SAN),-Wno-format-truncation)
WARN_clang := -Wcomma -Wassign-enum -Wunreachable-code -Wthread-safety -Wextra-semi-stmt \
	-Wno-gnu-zero-variadic-macro-arguments
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fPIE \
	-fno-strict-aliasing -fno-delete-null-pointer-checks
# Sanitizers at -O1: they compile faster and their stacks stay readable.
OPT := $(if $(SAN),-O1,-O2) -g
SAN_FLAGS_asan := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SAN_FLAGS_tsan := -fsanitize=thread -fno-omit-frame-pointer
FORTIFY := $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
FAMILY := $(if $(findstring clang,$(CC)),clang,gcc)
# Rooms are small files behind doors; optimising across them is worth a twelfth of the processor time a
# request. Objects hold ordinary code too, so tests link without it.
LTO := $(if $(SAN),,$(if $(filter gcc,$(FAMILY)),-flto=auto -ffat-lto-objects))

PACKAGES := libmicrohttpd gnutls lmdb jansson libcurl libcrypto rdkafka libsystemd
CFLAGS := $(STD) $(WARN) $(WARN_$(FAMILY)) $(HARDEN) $(OPT) $(FORTIFY) $(LTO) $(SAN_FLAGS_$(SAN)) -pthread
LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed $(SAN_FLAGS_$(SAN)) -pthread
LIBS = $(shell pkg-config --libs $(PACKAGES)) -lm

# ---- the program -------------------------------------------------------------------------------

SOURCES := $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o)
MAIN := $(BUILD)/obj/src/cli/main.o
PRESETS := $(wildcard config/presets/*.json)
GEN := $(if $(filter config,$(ROOMS)),$(BUILD)/gen/presets.inc)
LIB := $(BUILD)/libpostern.a

all: $(BUILD)/postern

$(BUILD)/postern: $(MAIN) $(LIB)
	$(CC) $(OPT) $(LTO) $(LDFLAGS) -o $@ $(MAIN) $(LIB) $(LIBS)

$(LIB): $(filter-out $(MAIN),$(OBJECTS))
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | $(GEN)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# Objects depend on the flags they were made with.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(subst ','\'',$(CFLAGS))' | cmp -s - $@ || echo '$(CC) $(subst ','\'',$(CFLAGS))' > $@

$(BUILD)/gen/presets.inc: $(PRESETS) scripts/embed-presets
	@mkdir -p $(@D)
	scripts/embed-presets $(PRESETS) > $@.tmp && mv $@.tmp $@

# ---- tests -------------------------------------------------------------------------------------

TEST_SOURCES := $(foreach r,$(ROOMS),$(wildcard tests/unit/$(r)_*.c tests/contract/$(r)_*.c)) \
	$(if $(filter cli,$(ROOMS)),$(wildcard tests/regress/*.c))
TEST_PROGRAMS := $(TEST_SOURCES:tests/%.c=$(BUILD)/tests/%)
FUZZ_SOURCES := $(wildcard tests/fuzz/*.c)
FUZZ_NAMES := $(notdir $(FUZZ_SOURCES:.c=))

$(BUILD)/tests/%: tests/%.c $(LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fno-lto -Itests -MMD -MP -MF $@.d -o $@ $< $(LDFLAGS) $(LIB) -lcmocka $(LIBS)

# The test makes every allocation fail once.
$(BUILD)/tests/unit/ingress_admit_memory: LDFLAGS += -Wl,--wrap=malloc,--wrap=realloc

# A fuzz target with a main that replays files: the corpora are part of every test run.
$(BUILD)/replay/%: tests/fuzz/%.c tests/fuzz/replay_main.inc $(LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fno-lto -DREPLAY_MAIN -MMD -MP -MF $@.d -o $@ $< $(LDFLAGS) $(LIB) -ljansson $(LIBS)

tests-build: $(TEST_PROGRAMS)

# Unit and contract tests of ROOMS, in this variant.
unit: tests-build
	scripts/run-tests $(BUILD) $(TEST_PROGRAMS)

corpus: $(FUZZ_NAMES:%=$(BUILD)/replay/%)
	scripts/run-corpus $(BUILD) $(FUZZ_NAMES)

deps:
	scripts/deps $(DEPS)

PRELOADS := $(patsubst tests/preload/%.c,$(BUILD)/preload/%.so,$(wildcard tests/preload/*.c))
$(BUILD)/preload/%.so: tests/preload/%.c
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) -O2 -g -fPIC -shared -pthread -o $@ $< -ldl
preload: $(PRELOADS)

check:
	scripts/deps build test
	$(MAKE) --no-print-directory SAN= unit corpus
	$(MAKE) --no-print-directory SAN=asan unit corpus
	$(MAKE) --no-print-directory SAN=tsan unit corpus

test:
	@scripts/test

# SEED=N KILLS=N ONLY="moves cluster": tests/system/torture --help has more.
torture:
	scripts/deps build test
	$(MAKE) --no-print-directory all preload
	tests/system/torture $(SEED:%=--seed %) $(KILLS:%=--kills %) $(ONLY)

model:
	@scripts/model

BENCH_TOOLS := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))
$(BUILD)/bench/%: tests/bench/%.c $(LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fno-lto -o $@ $< $(LDFLAGS) $(LIB) $(LIBS)
bench-tools: $(BENCH_TOOLS)

# Official libraries of providers as oracles; from PyPI and npm.
interop:
	scripts/deps build interop
	$(MAKE) --no-print-directory all
	tests/interop/run

bench:
	scripts/deps build test bench
	$(MAKE) --no-print-directory all bench-tools
	tests/bench/run

FUZZ_SECONDS ?= 60
fuzz:
	scripts/deps build test lint
	scripts/fuzz $(FUZZ_SECONDS) $(FUZZ_NAMES)

# ---- people ------------------------------------------------------------------------------------

run:
	@scripts/run

lint:
	scripts/deps build test lint
	scripts/lint

format:
	clang-format-14 -i $$(git ls-files '*.c' '*.h')

compdb: $(GEN)
	scripts/compdb '$(CC)' '$(subst ','\'',$(CFLAGS))' $(SOURCES) > compile_commands.json

coverage:
	scripts/deps build test
	scripts/coverage

install: all
	scripts/layout install '$(DESTDIR)' '$(prefix)' $(BUILD)
# Leaves configs, keys and data where they are.
uninstall:
	scripts/layout uninstall '$(DESTDIR)' '$(prefix)' $(BUILD)

clean:
	rm -rf build compile_commands.json

FORCE:
.PHONY: all unit corpus deps preload check test model torture interop bench bench-tools fuzz run lint format compdb coverage install uninstall clean tests-build FORCE
.DELETE_ON_ERROR:

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/tests/*/*.d) $(wildcard $(BUILD)/replay/*.d)
