/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPF over a DNS of any bytes: the input is a list of lines, and each question is answered by the next ones.  Whatever they say the check ends within
 * its limits, and nothing that cannot be a name is asked for. */
#include "formats/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
  struct arena *a;
  struct str rest;
  int asked;
};

static enum spf_answer ask(void *ctx, enum spf_ask what, const char *name, struct vec *answers) {
  struct source *s = ctx;
  INVARIANT(*name && strlen(name) <= 254 && strchr(name, '.'));
  INVARIANT(++s->asked <= 1 + 12 * 12);
  struct str head = str_cut(&s->rest, '\n');
  if (head.n == 0) return SPF_NO_ANSWER;
  if (head.p[0] == '!') return SPF_ANSWER_LATER;
  vec_push(answers, str_dup(s->a, head));
  for (int i = 1; what != SPF_ASK_TXT && i < 12 && s->rest.n && s->rest.p[0] == '+'; i++) {
    struct str more = str_cut(&s->rest, '\n');
    vec_push(answers, str_dup(s->a, str_n(more.p + 1, more.n - 1)));
  }
  return SPF_ANSWER;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct source s = {.a = a, .rest = str_n((const char *)data, size)};
  struct spf_check c = {.a = a, .sender = str_dup(a, str_cut(&s.rest, '\n')), .helo = "helo.example", .ask = ask, .ctx = &s};
  const char *domain = str_dup(a, str_cut(&s.rest, '\n'));
  struct str ip = str_cut(&s.rest, '\n');
  if (!ip_parse(ip, &c.ip)) IGNORE_RESULT(ip_parse(STR("192.0.2.1"), &c.ip));
  enum spf_result r = spf_check_host(&c, domain, NULL);
  INVARIANT(r < SPF_RESULT_COUNT);
  struct strbuf b = strbuf_new(a);
  struct spf_names n = {.ip = &c.ip, .sender = c.sender, .domain = domain, .helo = "helo.example", .receiver = "mx.example", .now = 1};
  if (spf_expand(&b, str_n((const char *)data, size), &n, SPF_FOR_DOMAIN)) INVARIANT(b.n <= 253 || !memchr(b.p, '.', b.n - 253));
  arena_free(a);
  return 0;
}
