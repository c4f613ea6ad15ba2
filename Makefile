# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds everything out of tree.  Common uses:
#   make                          exim, utilities and test helpers into build/
#   make BUILD=build/x            the same into another directory
#   make SANITIZE=address,undefined check
#   make EXPERIMENTAL_PIPE_CONNECT=      leave a feature out for once
#   make install DESTDIR=/tmp/stage
#   make check                    lint and unit tests (a minute); make test: everything that scripts/test has (a quarter of an hour)
#   make bench-rtt                round trips of every way of talking, measured on an emulated wire (a quarter of an hour, root)
# Long tests; make check-long does them all:
#   make early-random             early pipelining against servers that change at random; EARLY_SCENARIOS=10000 (13 minutes)
#   make next-random              hosts_pipe_next against a server of chance; NEXT_SCENARIOS=10000 (20 minutes)
#   make differential            configurations, filters and messages of chance beside Debian's Exim 4.96; DIFFERENTIAL_CASES=1000
#   make generated-long           configurations of chance beside Debian's Exim; GENERATED=2000 of each kind; not part of check-long
#   make unit-sanitized           unit tests with the address and undefined-behaviour sanitizers
#   make daemon-long crash-long   parallel load; killed at every point
#   make fuzz-run                 every fuzz target for FUZZ_SECONDS=60
# Site choices live in Local/Makefile; any of them may be overridden on the command line.
# A target that another developer's half-written file should not stop:  make PARTIAL=1 build/test/t_str

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
SHELL := /bin/sh

ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar
PKG_CONFIG ?= pkg-config
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 60

ifdef SANITIZE
BUILD ?= build/san
else
BUILD ?= build
endif
BUILD_ABS := $(abspath $(BUILD))

# ---------------------------------------------------------------------------------------------------------
# Flags

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wwrite-strings -Wformat=2 -Wimplicit-fallthrough
WERROR ?= -Werror
BASE_CFLAGS := -std=gnu17 -fno-strict-aliasing -funsigned-char -g -D_GNU_SOURCE $(WARNINGS) $(WERROR)
BASE_CPPFLAGS := -Isrc -I$(BUILD)/gen
DEP_FLAGS = -MMD -MP

ifdef SANITIZE
MODE_CFLAGS := -O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -DEXIM_ARENA_DEBUG
MODE_LDFLAGS := $(filter-out -DEXIM_ARENA_DEBUG,$(MODE_CFLAGS))
else
MODE_CFLAGS := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection \
               -fcf-protection -fPIE
MODE_LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
endif

PKGS := gnutls nettle libpcre2-8 libidn2 jansson
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS))
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS))
LIBS := $(PKG_LIBS) -lgdbm -lresolv -lcrypt -ldl -lm
CMOCKA_LIBS := $(shell $(PKG_CONFIG) --libs cmocka 2>/dev/null || echo -lcmocka)

# Settings of Local/Makefile and the command line, checked: defines FEATURE_CPPFLAGS, FEATURE_PKGS, CFG_...
NO_BUILD_GOALS := clean demo test help
ifneq ($(if $(MAKECMDGOALS),$(filter-out $(NO_BUILD_GOALS),$(MAKECMDGOALS)),all),)
include $(BUILD)/gen/build.mk
endif
FEATURE_LIBS := $(if $(FEATURE_PKGS),$(shell $(PKG_CONFIG) --libs $(FEATURE_PKGS)))
FEATURE_CFLAGS := $(if $(FEATURE_PKGS),$(shell $(PKG_CONFIG) --cflags $(FEATURE_PKGS)))
ifdef FEATURE_PERL
FEATURE_LIBS += $(filter -L% -l%,$(shell perl -MExtUtils::Embed -e ldopts))
$(BUILD)/obj/policy/expand/perl_interpreter.o: FEATURE_CFLAGS += -fno-strict-aliasing \
  $(patsubst -I%,-isystem %,$(filter -I%,$(shell perl -MExtUtils::Embed -e ccopts)))
endif

ALL_CFLAGS = $(BASE_CPPFLAGS) $(FEATURE_CPPFLAGS) $(PKG_CFLAGS) $(FEATURE_CFLAGS) $(BASE_CFLAGS) $(MODE_CFLAGS) \
             $(EXTRA_CFLAGS)
ALL_LDFLAGS = $(MODE_LDFLAGS) $(EXTRA_LDFLAGS)
ALL_LIBS = $(LIBS) $(FEATURE_LIBS) $(EXTRA_LIBS)

# ---------------------------------------------------------------------------------------------------------
# Files

SOURCES := $(sort $(shell find src -name '*.c'))
PROGRAM_SOURCES := $(wildcard src/exim.c src/utils/exi*.c)
# Drivers that need a library nobody asked for are left out (LEFT_OUT_SOURCES is in build.mk).
LIB_SOURCES := $(filter-out $(PROGRAM_SOURCES) $(LEFT_OUT_SOURCES),$(SOURCES))
LIB_OBJECTS := $(LIB_SOURCES:src/%.c=$(BUILD)/obj/%.o)
PROGRAM_OBJECTS := $(PROGRAM_SOURCES:src/%.c=$(BUILD)/obj/%.o)
EXIM := $(if $(wildcard src/exim.c),$(BUILD)/exim)
UTILS := $(patsubst src/utils/%.c,$(BUILD)/%,$(filter src/utils/%,$(PROGRAM_SOURCES)))
UNIT_TESTS := $(patsubst test/unit/%.c,$(BUILD)/test/%,$(wildcard test/unit/t_*.c))
FUZZERS := $(patsubst test/fuzz/%.c,$(BUILD)/%,$(wildcard test/fuzz/fuzz_*.c))
LIBRARY := $(BUILD)/libexim.a
VERSION = $(shell sed -n 's/.*version_and_mark\[\] = "\([^\\]*\).*/\1/p' src/base/buildinfo.c)
SCRIPT_UTILS := $(filter-out %.c %.h,$(wildcard src/utils/exi*))

.PHONY: all exim utils unit-tests testprogs install demo test check unit testexim bench bench-expand bench-rtt check-long fuzz \
        unit-sanitized early-random next-random daemon-long crash-long differential generated-long \
        fuzz-programs fuzz-replay fuzz-run lint clean help objects FORCE
.SECONDARY:

all: exim utils testprogs

exim: $(EXIM) $(LIBRARY)
utils: $(UTILS) $(patsubst src/utils/%,$(BUILD)/%,$(SCRIPT_UTILS))
unit-tests: $(UNIT_TESTS)
objects: $(LIB_OBJECTS)

testprogs:
	@if [ -f test/src/Makefile ]; then $(MAKE) -C test/src BUILD=$(BUILD_ABS); fi

# make V=1 shows the commands, make -s nothing.
ifdef V
say :=
else ifneq ($(findstring s,$(firstword -$(MAKEFLAGS))),)
say := @
else
say = @echo "  $(1)";
endif

# ---------------------------------------------------------------------------------------------------------
# Rules

# Files below gen/ are rewritten only when their text changes, so that nothing is rebuilt in vain.
OVERRIDDEN := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v))
$(BUILD)/gen/build.mk: FORCE
	@mkdir -p $(@D)
	@scripts/configure-build Local/Makefile $(@D) $(OVERRIDDEN)
$(BUILD)/gen/buildconfig.h: $(BUILD)/gen/build.mk ;

define write_if_changed
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(1))' > $@
endef
$(BUILD)/gen/cflags: FORCE
	$(call write_if_changed,$(CC) $(ALL_CFLAGS))
$(BUILD)/gen/objects: FORCE
	$(call write_if_changed,$(LIB_OBJECTS))

$(BUILD)/obj/%.o: src/%.c $(BUILD)/gen/cflags | $(BUILD)/gen/buildconfig.h
	@mkdir -p $(@D)
	$(call say,$@)$(CC) $(DEP_FLAGS) $(ALL_CFLAGS) -c -o $@ $<

ifdef PARTIAL
$(LIBRARY): FORCE
	-@$(MAKE) -k PARTIAL= objects
	@rm -f $@
	@$(AR) rcs $@ `ls $(LIB_OBJECTS) 2>/dev/null`
else
$(LIBRARY): $(LIB_OBJECTS) $(BUILD)/gen/objects
	@rm -f $@
	$(call say,$@)$(AR) rcs $@ $(LIB_OBJECTS)
endif

$(BUILD)/exim: $(BUILD)/obj/exim.o $(LIBRARY)
	$(call say,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)

$(UTILS): $(BUILD)/%: $(BUILD)/obj/utils/%.o $(LIBRARY)
	$(call say,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)

$(patsubst src/utils/%,$(BUILD)/%,$(SCRIPT_UTILS)): $(BUILD)/%: src/utils/% $(BUILD)/gen/build.mk
	@sed -e 's|@BIN_DIRECTORY@|$(CFG_BIN_DIRECTORY)|g' -e 's|@CONFIGURE_FILE@|$(CFG_CONFIGURE_FILE)|g' \
	     -e 's|@SPOOL_DIRECTORY@|$(CFG_SPOOL_DIRECTORY)|g' -e 's|@VERSION@|$(VERSION)|g' $< > $@.tmp
	@chmod 755 $@.tmp && mv $@.tmp $@

$(BUILD)/test/%.o: test/unit/%.c $(BUILD)/gen/cflags | $(BUILD)/gen/buildconfig.h
	@mkdir -p $(@D)
	$(call say,$@)$(CC) $(DEP_FLAGS) $(ALL_CFLAGS) -Itest/unit -c -o $@ $<
$(UNIT_TESTS): %: %.o $(LIBRARY)
	$(call say,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CMOCKA_LIBS) $(ALL_LIBS)

# ---------------------------------------------------------------------------------------------------------
# Tests

unit: unit-tests
	@scripts/run-unit $(BUILD)

lint: objects
	@BUILD=$(BUILD) scripts/lint

check: lint unit

test:
	@scripts/test

demo:
	@scripts/demo

# The variant the test harness patches: fixed users, the macros and the trusted list the suite needs.
TEST_MACROS := ACL ACL_RCPT ALLOW ANE ARG1 ARG2 AUTHS AUTH_ID_DOMAIN BAD BANNER BRB CERT COM CONNECTCOND CONTROL CRL \
  DATA DCF DDF DELAY DETAILS DIR DRATELIMIT DYNAMIC_OPTION ERROR_DETAILS ERT EXIM_PATH FAKE FILTER FORBID HAP \
  HEADER_LINE_MAXSIZE HEADER_MAXSIZE HELO_MSG HL HOSTS HOSTS_AVOID_TLS HVH IGNORE_QUOTA INC INSERT IP1 IP2 LAST LIST \
  LOG_SELECTOR MAXNM MEASURE_TIMING NOTDAEMON ONCE OPTION PAH PEX PORT QDG QOLL QWM RCPT_MSG REMEMBER REQUIRE \
  REQUIRE_DANE RETRY RETURN_ERROR_DETAILS REWRITE RRATELIMIT SELECTOR SELF SERVER SLEEP SN SRV STRICT SUB \
  SUBMISSION_OPTIONS TIMEOUTDEFER TIMES TLS TRUSTED TRYCLEAR U UL USER UTF8 VALUE XDIR
empty :=
space := $(empty) $(empty)
TESTBUILD ?= build/test-variant
# Lookups that are built into it where their libraries are there.
TEST_LOOKUPS := LOOKUP_LDAP=ldap LOOKUP_MYSQL=mariadb LOOKUP_PGSQL=libpq LOOKUP_REDIS=hiredis LOOKUP_LMDB=lmdb
TEST_TRUSTED_CONFIG_LIST ?= $(abspath test)/trusted_configs
testexim:
	@$(MAKE) BUILD=$(TESTBUILD) EXIM_USER=eximtest EXIM_GROUP=eximtest CONFIGURE_OWNER=4001 CONFIGURE_GROUP=4002 \
	  TRUSTED_CONFIG_LIST=$(TEST_TRUSTED_CONFIG_LIST) HEADERS_CHARSET=ISO-8859-1 PIPE_CONNECT_KEYWORDS=PIPECONNECT \
	  $(foreach l,$(TEST_LOOKUPS),$(if $(shell $(PKG_CONFIG) --exists $(lastword $(subst =, ,$l)) && echo yes),$(firstword $(subst =, ,$l))=yes)) \
	  EXIM_PERL=yes EXPAND_DLFUNC=yes EXPERIMENTAL_ARC=yes EXPERIMENTAL_DSN_INFO=yes EXPERIMENTAL_SRV_SMTPS=yes \
	  WHITELIST_D_MACROS=$(subst $(space),:,$(strip $(TEST_MACROS))) all

bench: all
	@test/bench/run $(BUILD)
bench-expand: all
	@test/bench/expand $(BUILD)
bench-rtt: all
	@test/bench/rtt $(BUILD)

fuzz:
	@$(MAKE) BUILD=$(BUILD)-fuzz CC=$(FUZZ_CC) SANITIZE=fuzzer-no-link,address,undefined fuzz-programs
fuzz-programs: $(FUZZERS)
$(BUILD)/fuzz_%.o: test/fuzz/fuzz_%.c $(BUILD)/gen/cflags | $(BUILD)/gen/buildconfig.h
	$(call say,$@)$(CC) $(DEP_FLAGS) $(ALL_CFLAGS) -c -o $@ $<
$(FUZZERS): %: %.o $(LIBRARY)
	$(call say,$@)$(CC) $(subst fuzzer-no-link,fuzzer,$(ALL_LDFLAGS)) -o $@ $^ $(ALL_LIBS)
fuzz-replay: fuzz
	@scripts/run-fuzz $(BUILD)-fuzz replay
fuzz-run: fuzz
	@scripts/run-fuzz $(BUILD)-fuzz $(FUZZ_SECONDS)

# The long tests, singly; all of them together take some hours.
EARLY_SCENARIOS ?= 10000
NEXT_SCENARIOS ?= 10000
GENERATED ?= 2000
unit-sanitized:
	@$(MAKE) BUILD=build/san SANITIZE=address,undefined unit
early-random: $(BUILD)/test/t_early_random
	@EARLY_SCENARIOS=$(EARLY_SCENARIOS) $<
next-random: $(BUILD)/test/t_pipe_next_random
	@NEXT_SCENARIOS=$(NEXT_SCENARIOS) $<
generated-long: all
	@scripts/get-oracle && test/oracle/run-generated -n $(GENERATED) $(abspath $(BUILD))/exim build/oracle/exim
daemon-long: all
	@BUILD=$(abspath $(BUILD)) test/daemon/run --long
crash-long: all
	@BUILD=$(abspath $(BUILD)) test/crash/run --long
# What differs is shown and is to be read: not every difference is a mistake (test/README), so this is no part of check-long's verdict.
DIFFERENTIAL_CASES ?= 1000
differential: exim
	scripts/get-oracle $(BUILD)/oracle
	-test/differential/run $(EXIM) $(BUILD)/oracle --count $(DIFFERENTIAL_CASES)

check-long: differential unit-sanitized early-random next-random daemon-long crash-long fuzz-run

# ---------------------------------------------------------------------------------------------------------
# Installing

install: exim utils
	@DESTDIR='$(DESTDIR)' scripts/install-exim $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-fuzz

help:
	@sed -n '3,/^$$/s/^# \{0,1\}//p' Makefile

FORCE:

-include $(patsubst %.o,%.d,$(LIB_OBJECTS) $(PROGRAM_OBJECTS)) $(UNIT_TESTS:%=%.d) $(FUZZERS:%=%.d)
