/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exim filters: the text of a filter is parsed and, with what it holds, obeyed; the bytes that a filter process sends are decoded. */
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "filters/filter.h"
#include "message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void obey(struct arena *a, struct str text, bool is_system) {
  static struct config cfg = {.qualify_recipient = "test.ex", .qualify_domain = "test.ex", .primary_hostname = "h.test.ex"};
  struct message *m = message_new(&cfg);
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  m->sender = "a@b";
  x.msg = m;
  x.addr = address_new(a, "fred@test.ex");
  /* nothing a random text names is to be read, run or written */
  x.forbid.run = x.forbid.readfile = x.forbid.readsocket = x.forbid.lookup = x.forbid.exists = x.forbid.dlfunc = x.forbid.perl = true;
  struct filter_env env = {.x = &x, .rights = {.is_system = is_system}, .forbid_logwrite = true, .qualify_domain = "test.ex",
                           .own_address = "fred@test.ex", .home = "/home/fred"};
  const char *error;
  struct filter_command *c = filter_parse(a, text, &env.rights, &error);
  if (error && c) abort();
  struct filter_result r = filter_obey(&env, c), back;
  struct strbuf bytes = strbuf_new(a);
  filter_result_encode(&r, &bytes);
  if (!filter_result_decode(a, strbuf_str(&bytes), &back)) abort();
  message_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  char *copy = malloc(size + 1);
  struct filter_result r;
  if (!copy) abort();
  memcpy(copy, data, size);
  copy[size] = 0;
  if (size && (copy[0] & 3) == 3) (void)!filter_result_decode(a, str_n(copy + 1, size - 1), &r);
  else {
    obey(a, str_n(copy, size), false);
    obey(a, str_n(copy, size), true);
  }
  free(copy);
  arena_free(a);
  return 0;
}
