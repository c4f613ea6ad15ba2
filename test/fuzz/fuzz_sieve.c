/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sieve scripts: a script, and behind a NUL byte the header lines it looks at.  No read outside, an end, and the message is never lost: with an
 * error there is a place to keep it. */
#include <stdlib.h>

#include "address.h"
#include "base/arena.h"
#include "filters/sieve.h"
#include "message.h"
#include "policy/readconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_headers(struct message *m, struct str text) {
  while (text.n) {
    struct str line = str_cut(&text, '\n');
    bool is_resent;
    if (!header_is_valid_start(line) || memchr(line.p, 0, line.n)) continue;
    const char *copy = arena_printf(m->arena, "%.*s\n", STR_FMT(line));
    message_add_header(m, header_type_of(line, &is_resent), copy, line.n + 1);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct config cfg;
  struct arena *a = arena_new("fuzz");
  char *copy = malloc(size ? size : 1);
  if (!copy) abort();
  memcpy(copy, data, size);
  struct str text = str_n(copy, size ? strnlen(copy, size) : 0);
  struct sieve_rights rights = {.has_vacation = true, .has_notify = true};
  struct sieve_script script = sieve_parse(a, text, rights);
  struct message *m = message_new(&cfg);
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  m->sender = "joe@sender.ex";
  x.msg = m;
  x.addr = address_new(a, "u@test.ex");
  if (text.n < size) add_headers(m, str_n(copy + text.n + 1, size - text.n - 1));
  struct sieve_env env = {.x = &x, .is_test = true, .inbox = "inbox", .user = "u", .detail = "d", .notify_owner = "u@test.ex"};
  struct filter_result r = sieve_obey(&env, &script);
  if (!r.is_significant || r.end != FILTER_DONE) abort();
  if (env.error && (!env.is_kept || !r.actions)) abort();
  for (const struct filter_action *act = r.actions; act; act = act->next)
    if (!act->text) abort();
  message_free(m);
  free(copy);
  arena_free(a);
  return 0;
}
