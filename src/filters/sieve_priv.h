/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of the Sieve filter.  Floor: drivers. */
#ifndef FILTERS_SIEVE_PRIV_H
#define FILTERS_SIEVE_PRIV_H

#include "filters/sieve.h"
#include "formats/rfc5322.h"

enum sieve_capability {
  CAN_COPY = 1, CAN_ENCODED = 2, CAN_ENVELOPE = 4, CAN_FILEINTO = 8, CAN_SUBADDRESS = 16, CAN_VACATION = 32, CAN_NOTIFY = 64, CAN_NUMERIC = 128
};

/* A place in the text; the first mistake stays. */
struct sieve_reader {
  struct arena *a;
  const char *p, *end;
  unsigned line;
  unsigned capabilities;
  struct sieve_rights rights;
  unsigned depth, nodes;
  const char *error;
  unsigned error_line;
};

/* Note the mistake.  Always false. */
bool sieve_wrong(struct sieve_reader *r, const char *fmt, ...) PRINTF(2, 3);
/* Over blanks and comments; false when a comment has no end. */
bool sieve_skip(struct sieve_reader *r);
/* Skip, then take this character, word (whole, any case) or tag (":name") when it stands here. */
bool sieve_take_char(struct sieve_reader *r, char c);
bool sieve_take_word(struct sieve_reader *r, const char *word);
bool sieve_take_tag(struct sieve_reader *r, const char *tag);
/* Skip, then read.  False: there is none, and perhaps it is malformed (r->error). */
bool sieve_read_string(struct sieve_reader *r, struct str *ret);
bool sieve_read_strings(struct sieve_reader *r, struct sieve_strings *ret);
bool sieve_read_number(struct sieve_reader *r, int64_t *ret);
/* One more command or test, one level deeper; false with the mistake noted. */
bool sieve_count_node(struct sieve_reader *r);
bool sieve_enter(struct sieve_reader *r);

/* The capability was required; else the mistake is noted. */
bool sieve_is_required(struct sieve_reader *r, unsigned capability);
/* A test; false with the mistake noted. */
bool sieve_read_test(struct sieve_reader *r, struct sieve_test **ret);

/* ---- obeying ---- */
struct sieve_run {
  struct sieve_env *env;
  struct expand_ctx *x;
  struct arena *a;
  struct filter_result result;
  struct filter_action **tail;
  unsigned actions, redirects;
  int64_t work;
  bool is_stopped, is_kept, has_answered;
};
/* End the run with this error.  Always false. */
bool sieve_broken(struct sieve_run *s, unsigned line, const char *fmt, ...) PRINTF(3, 4);
/* The truth of a test in *ret; false when the run is broken. */
bool sieve_evaluate(struct sieve_run *s, const struct sieve_test *t, bool *ret);
/* One more action; NULL when there are too many. */
struct filter_action *sieve_add_action(struct sieve_run *s, unsigned line, enum filter_action_kind kind, const char *text);
/* The vacation and notify commands. */
bool sieve_vacation(struct sieve_run *s, const struct sieve_command *c);
bool sieve_notify(struct sieve_run *s, const struct sieve_command *c);
/* All header lines of that name, one value after the other: start with *pos NULL.  Decoded to UTF-8, may hold NUL bytes. */
bool sieve_next_header(struct sieve_run *s, struct str name, const struct header_line **pos, struct str *ret);
/* The same as they are. */
bool sieve_next_raw_header(struct sieve_run *s, struct str name, const struct header_line **pos, struct str *ret);

#endif
