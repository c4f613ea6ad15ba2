/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Regular expressions: PCRE2 with JIT, limits, and a cache of compiled patterns.  Floor: policy.  Manual ch. 8.
 *
 * The subject is hostile, and so may the pattern be; both the number of match steps and the heap of one match are bounded, and
 * running into a bound is an error (a temporary failure for the caller), never a silent "no".
 * Memory of compiled patterns and results belongs to PCRE2.  Only patterns that are not tainted are kept, so that foreign text cannot push out the
 * administrator's patterns.  The cache is on the list of allowed writable globals. */

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "os/debug.h"
#include "policy/match.h"

enum { CACHE_SLOTS = 1024, CACHED_MAX = 4000, USES_BEFORE_JIT = 2, MATCH_LIMIT = 2000000, HEAP_LIMIT_KIB = 20480 };

struct cached_regex {
  struct cached_regex *next; /* in the same slot */
  const char *pattern;
  bool caseless;
  unsigned uses;
  pcre2_code *code;
};

static struct {
  struct cached_regex *slot[CACHE_SLOTS];
  size_t count;
  struct arena *arena; /* of the cached ones; the codes are PCRE2's */
  pcre2_match_context *limits;
  pcre2_match_data *data;
} regexes;

static unsigned slot_of(const char *pattern, bool caseless) {
  uint32_t h = caseless ? 2166136261u : 2166136263u;
  for (const char *p = pattern; *p; p++) h = (h ^ (unsigned char)*p) * 16777619u;
  return h % CACHE_SLOTS;
}

static pcre2_code *compile(struct expand_ctx *x, const char *pattern, bool caseless) {
  int err;
  PCRE2_SIZE offset;
  pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, caseless ? PCRE2_CASELESS : 0, &err, &offset, NULL);
  if (!code) {
    char text[128];
    (void)pcre2_get_error_message(err, (PCRE2_UCHAR *)text, sizeof text);
    x->error = arena_printf(x->a, "regular expression error in \"%s\": %s at offset %ld", pattern, text, (long)offset);
    return NULL;
  }
  return code;
}

static void forget_all(void) {
  for (size_t i = 0; i < CACHE_SLOTS; i++)
    for (struct cached_regex *c = regexes.slot[i]; c; c = c->next) pcre2_code_free(c->code);
  arena_free(regexes.arena);
  memset(regexes.slot, 0, sizeof regexes.slot);
  regexes.arena = NULL;
  regexes.count = 0;
}

static void keep(const char *pattern, bool caseless, pcre2_code *code) {
  if (regexes.count >= CACHED_MAX) forget_all();
  if (!regexes.arena) regexes.arena = arena_new("patterns");
  struct cached_regex *c = ARENA_NEW(regexes.arena, struct cached_regex);
  struct cached_regex **slot = &regexes.slot[slot_of(pattern, caseless)];
  *c = (struct cached_regex){.next = *slot, .pattern = arena_strdup(regexes.arena, pattern), .caseless = caseless, .uses = 1, .code = code};
  *slot = c;
  regexes.count++;
}

/* The compiled pattern; *ret_owned when the caller has to free it. */
static pcre2_code *get_code(struct expand_ctx *x, const char *pattern, bool caseless, bool *ret_owned) {
  *ret_owned = is_tainted(pattern);
  if (*ret_owned) return compile(x, pattern, caseless);
  for (struct cached_regex *c = regexes.slot[slot_of(pattern, caseless)]; c; c = c->next) {
    if (c->caseless != caseless || strcmp(c->pattern, pattern) != 0) continue;
    /* Making machine instructions costs more than they save in the one or two matches of a process that handles one message. */
    if (c->uses++ == USES_BEFORE_JIT) (void)pcre2_jit_compile(c->code, PCRE2_JIT_COMPLETE);
    return c->code;
  }
  pcre2_code *code = compile(x, pattern, caseless);
  if (code) keep(pattern, caseless, code);
  return code;
}

static void set_captures(struct expand_ctx *x, struct str subject, const pcre2_match_data *md, int count) {
  const PCRE2_SIZE *ov = pcre2_get_ovector_pointer((pcre2_match_data *)md);
  x->s.ncaptures = MIN(count, EXPAND_MAX_CAPTURES);
  for (int i = 0; i < EXPAND_MAX_CAPTURES; i++) {
    x->s.captures[i] = NULL;
    if (i >= x->s.ncaptures) continue;
    if (ov[2 * i] == PCRE2_UNSET || ov[2 * i + 1] < ov[2 * i]) x->s.captures[i] = "";
    else x->s.captures[i] = arena_strndup(x->a, subject.p + ov[2 * i], ov[2 * i + 1] - ov[2 * i]);
  }
}

/* The match context with the limits, made at the first use; NULL when there is no memory. */
static pcre2_match_context *match_limits(void) {
  if (!regexes.limits && (regexes.limits = pcre2_match_context_create(NULL)) != NULL) {
    (void)pcre2_set_match_limit(regexes.limits, MATCH_LIMIT);
    (void)pcre2_set_heap_limit(regexes.limits, HEAP_LIMIT_KIB);
  }
  return regexes.limits;
}

/* The space for results, made at the first use: a pattern with more groups than can be asked for fills it and no more. */
static pcre2_match_data *match_data(void) {
  if (!regexes.data) regexes.data = pcre2_match_data_create(EXPAND_MAX_CAPTURES, NULL);
  return regexes.data;
}

enum outcome regex_match_from(struct expand_ctx *x, const char *pattern, unsigned flags, struct str subject, size_t start, size_t ret_span[2]) {
  bool owned;
  pcre2_code *code = get_code(x, pattern, (flags & REGEX_CASELESS) != 0, &owned);
  if (!code) return OUTCOME_ERROR;
  pcre2_match_data *md = match_data();
  pcre2_match_context *limits = match_limits();
  uint32_t options = flags & REGEX_NONEMPTY_HERE ? PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED : 0;
  int rc = PCRE2_ERROR_NOMEMORY;
  PCRE2_SPTR bytes = (PCRE2_SPTR)(subject.p ? subject.p : "");
  if (md && limits) rc = pcre2_match(code, bytes, subject.n, start, options, md, limits);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* honest long texts need more than the small stack of compiled patterns: heap, also limited */
    rc = pcre2_match(code, bytes, subject.n, start, options | PCRE2_NO_JIT, md, limits);
  enum outcome result = OUTCOME_OK;
  if (rc == PCRE2_ERROR_NOMATCH) {
    result = OUTCOME_FAIL;
  } else if (rc < 0) {
    char text[128];
    (void)pcre2_get_error_message(rc, (PCRE2_UCHAR *)text, sizeof text);
    x->error = arena_printf(x->a, "regular expression \"%s\" could not be applied: %s", pattern, text);
    result = OUTCOME_ERROR;
  } else {
    const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(md);
    if (flags & REGEX_SET_CAPTURES) set_captures(x, subject, md, rc == 0 ? (int)pcre2_get_ovector_count(md) : rc);
    if (ret_span) {
      ret_span[0] = MIN(ov[0], ov[1]); /* \K may put the start behind the end */
      ret_span[1] = ov[1];
    }
  }
  if (owned) pcre2_code_free(code);
  return result;
}

enum outcome regex_match(struct expand_ctx *x, const char *pattern, bool caseless, struct str subject, bool want_captures) {
  return regex_match_from(x, pattern, (caseless ? REGEX_CASELESS : 0u) | (want_captures ? REGEX_SET_CAPTURES : 0u), subject, 0, NULL);
}
