/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines of transports.  Floor: drivers.  Manual sections 24 (transport_filter), 29.3.
 *
 * The text of a command is the administrator's, and so is what its words expand to: a sender's bytes are refused, although they could not become words of
 * their own, because what a program makes of an argument is not known here.  $pipe_addresses is excepted.  The words live in the delivery's arena. */
#include "transport_command.h"

#include <string.h>

#include "formats/codecs.h"

const char *transport_next_word(struct arena *a, struct str *rest) {
  *rest = str_ltrim(*rest);
  if (!rest->n) return NULL;
  struct strbuf b = strbuf_new(a);
  char quote = *rest->p == '"' || *rest->p == '\'' ? *rest->p : 0;
  size_t i = quote ? 1 : 0;
  while (i < rest->n && (quote ? rest->p[i] != quote : !ch_isspace(rest->p[i]))) {
    if (quote == '"' && rest->p[i] == '\\') {
      size_t used;
      char c = (char)escape_interpret(str_n(rest->p + i, rest->n - i), &used);
      strbuf_add(&b, &c, 1);
      i += used;
    } else {
      strbuf_add(&b, rest->p + i, 1);
      i++;
    }
  }
  if (quote && i < rest->n) i++;
  *rest = str_n(rest->p + i, rest->n - i);
  return b.p;
}

const char *transport_expand_command(struct delivery *d, const char *command, const char *what, struct vec *argv, bool *ret_tainted) {
  struct arena *a = d->arena;
  struct str rest = str_c(command);
  const char *word;
  *ret_tainted = false;
  while ((word = transport_next_word(a, &rest))) {
    if (strcmp(word, "$pipe_addresses") == 0) {
      for (const struct address *addr = d->addrs; addr; addr = addr->next) vec_push(argv, arena_strdup(a, addr->address));
      continue;
    }
    const char *text = expand_string(d->x, word);
    if (!text)
      return arena_printf(a, "Expansion of \"%s\" from command \"%s\" in %s failed: %s", word, command, what, d->x->error ? d->x->error : "");
    *ret_tainted = is_tainted(text);
    if (*ret_tainted) return arena_printf(a, "Tainted arg %zu for %s command: '%s'", argv->n, what, text);
    vec_push(argv, arena_strdup(a, text));
  }
  if (!argv->n) return arena_printf(a, "no command given for %s", what);
  vec_push(argv, NULL);
  return NULL;
}
