/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all authenticator drivers share: data into variables, base64, conditions.  Floor: drivers.
 *
 * Everything decoded came from the other side and is tainted; variables point into the arena of the expansion context.
 * Manual ch. 33 and 34: "$auth1" and so on, with "$1" as their old names; how server_condition decides. */
#include "auth.h"

#include <string.h>

#include "formats/codecs.h"
#include "os/debug.h"
#include "policy/narrate.h"

void auth_clear_vars(struct expand_ctx *x) {
  memset(x->auth_vars, 0, sizeof(x->auth_vars));
  memset(&x->s, 0, sizeof(x->s));
}

void auth_set_var(struct expand_ctx *x, int n, const char *text) {
  if (n < 1 || n >= EXPAND_MAX_CAPTURES) return;
  if (n <= (int)ARRAY_SIZE(x->auth_vars)) x->auth_vars[n - 1] = text;
  x->s.captures[n] = text;
  for (int i = 0; i < n; i++)
    if (!x->s.captures[i]) x->s.captures[i] = "";
  x->s.ncaptures = n + 1;
}

void auth_set_data(struct expand_ctx *x, struct str data, int *n) {
  do {
    struct str one = str_cut(&data, '\0');
    auth_set_var(x, ++*n, arena_strndup(x->a, one.p, one.n));
  } while (data.n > 0);
}

/* ---- server ---- */

static enum auth_status decode(struct auth_server *s, const char *text, struct str *ret) {
  size_t n;
  char *p = base64_decode(s->x->a, str_c(text), &n);
  if (!p) return AUTH_BAD64;
  *ret = str_n(p, n);
  return AUTH_OK;
}

enum auth_status auth_initial(struct auth_server *s, struct str *ret) {
  *ret = STR("");
  if (strcmp(s->initial, "=") == 0) return AUTH_OK;
  enum auth_status st = decode(s, s->initial, ret);
  if (st != AUTH_OK) return st;
  DEBUG(D_AUTH) {
    struct str rest = *ret;
    debug_printf("auth input decode:");
    while (rest.n) debug_printf(" '%s'", str_dup(s->x->a, str_cut(&rest, '\0')));
    debug_printf("\n");
  }
  return st;
}

enum auth_status auth_ask(struct auth_server *s, struct str challenge, struct str *ret_answer) {
  const char *answer;
  enum auth_status st = s->ask(s, base64_encode(s->x->a, challenge.p, challenge.n), &answer);
  return st == AUTH_OK ? decode(s, answer, ret_answer) : st;
}

enum auth_status auth_expand(struct auth_server *s, const char *text, const char **ret) {
  *ret = text ? expand_string(s->x, text) : NULL;
  if (!text || *ret) return AUTH_OK;
  if (s->x->forced_fail) return AUTH_FAIL;
  s->log_text = s->x->error;
  return AUTH_DEFER;
}

static void narrate_vars(struct auth_server *s, const char *what) {
  if (!narrate_wanted(s->x, D_AUTH)) return;
  narrate(s->x, D_AUTH, "%s authenticator %s:", s->i->name, what);
  for (size_t n = 0; n < ARRAY_SIZE(s->x->auth_vars); n++)
    if (s->x->auth_vars[n]) narrate(s->x, D_AUTH, "  $auth%zu = %s", n + 1, s->x->auth_vars[n]);
  for (int n = 1; n < s->x->s.ncaptures; n++) narrate(s->x, D_AUTH, "  $%d = %s", n, s->x->s.captures[n]);
}

void auth_debug_print(const struct auth_server *s) {
  const char *text = s->i->o.server_debug_print;
  if (!text || !narrate_wanted(s->x, D_AUTH)) return;
  const char *r = expand_string(s->x, text);
  if (r) narrate_flat(s->x, D_AUTH, "%s", r);
  else narrate_flat(s->x, D_AUTH, "failed to expand debug_output \"%s\": %s", text, s->x->error);
}

enum auth_status auth_condition(struct auth_server *s) {
  const char *condition = s->i->o.server_condition, *r;
  narrate_vars(s, "server_condition");
  auth_debug_print(s);
  if (!condition) return AUTH_OK;
  enum auth_status st = auth_expand(s, condition, &r);
  if (st != AUTH_OK) {
    narrate(s->x, D_AUTH, "expansion failed: %s", s->x->error);
    return st;
  }
  narrate(s->x, D_AUTH, "expanded string: %s", r);
  struct str v = str_c(r);
  if (text_means_no(r)) return AUTH_FAIL;
  if (str_eq(v, STR("1")) || str_eqic(v, STR("yes")) || str_eqic(v, STR("true"))) return AUTH_OK;
  s->user_text = r;
  return AUTH_DEFER;
}

/* ---- client ---- */

enum auth_status auth_client_expand(struct auth_client *c, const char *text, const char **ret) {
  *ret = expand_string(c->x, text);
  if (*ret) return AUTH_OK;
  if (c->x->forced_fail) return AUTH_SKIP;
  c->error = arena_printf(c->x->a, "expansion of \"%s\" failed in %s authenticator: %s", text, c->i->name, c->x->error);
  return AUTH_DEFER;
}

enum auth_status auth_client_first(struct auth_client *c, struct str data) {
  const char *text = !data.p ? "" : data.n == 0 ? "=" : base64_encode(c->x->a, data.p, data.n);
  return c->speak(c, arena_printf(c->x->a, "AUTH %s%s%s", c->i->o.public_name, *text ? " " : "", text));
}

enum auth_status auth_client_more(struct auth_client *c, struct str data) {
  return c->speak(c, base64_encode(c->x->a, data.p, data.n));
}

enum auth_status auth_client_cancel(struct auth_client *c, const char *error) {
  enum auth_status st = c->speak(c, "*");
  c->error = error;
  return st == AUTH_LOST ? AUTH_LOST : AUTH_CANCELLED;
}

enum auth_status auth_client_challenge(struct auth_client *c, struct str *ret) {
  size_t n;
  char *p = base64_decode(c->x->a, str_c(c->challenge), &n);
  if (!p) return auth_client_cancel(c, arena_printf(c->x->a, "Invalid base64 string in server response \"%s\"", c->reply));
  *ret = str_n(p, n);
  return AUTH_OK;
}
