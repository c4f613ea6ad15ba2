/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The expansion language: the input is a template.  Everything that reaches outside the process is forbidden in the context. */
#include <stdlib.h>

#include "message.h"
#include "policy/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_WORK = 8 << 20 }; /* the sanitizers are slow */

static enum outcome no_acl(struct expand_ctx *x, const char *name, const char **ret_message) {
  (void)x;
  *ret_message = name;
  return *name == 'd' ? OUTCOME_DEFER : OUTCOME_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const struct expand_hooks hooks = {.acl = no_acl};
  static struct config cfg;
  if (size > 4096) return 0;
  expand_set_hooks(&hooks);
  struct arena *a = arena_new("fuzz");
  cfg.primary_hostname = "mx.test.ex";
  cfg.qualify_domain = "test.ex";
  cfg.o.headers_charset = "UTF-8";
  cfg.o.check_rfc2047_length = true;
  struct message *m = message_new(&cfg);
  static struct header_line line = {.text = "Subject: =?utf-8?Q?a=62?= x\n", .n = 28, .type = ' '};
  m->headers = &line;
  m->sender = "a@b.ex";
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  x.msg = m;
  x.work_limit = FUZZ_WORK;
  x.forbid.run = x.forbid.readfile = x.forbid.readsocket = x.forbid.lookup = x.forbid.exists = true;
  const char *r = expand_string(&x, arena_strndup_t(a, (const char *)data, size, UNTAINTED));
  if (!r && !x.error) abort();
  if (x.depth != 0) abort();
  message_free(m);
  arena_free(a);
  return 0;
}
