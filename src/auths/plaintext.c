/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plaintext authenticator: PLAIN, LOGIN and whatever else is made of prompts and strings.  Floor: drivers.  Manual ch. 34; RFC 4616.
 *
 * Server: what the client sends is cut at NULs into $auth1...; prompts are used for strings that have not come yet; server_condition decides.
 * Client: each item of client_send is expanded when its turn comes, with the prompts so far in $auth1...; "^" is NUL and "^^" is "^". */
#include "auth.h"
#include "auths/drivers.h"

#include "formats/codecs.h"
#include "policy/match.h"

struct plaintext_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "auths/plaintext_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct plaintext_opts, n, t, d, f)
static const struct option plaintext_options[] = {
#include "auths/plaintext_options.def"
};
#undef OPT_ROW

static const char *plaintext_init(struct arena *a UNUSED, struct config *c UNUSED, struct auth_instance *i) {
  const struct plaintext_opts *ob = i->ob;
  i->is_server = i->o.server_condition != NULL;
  i->is_client = ob->client_send != NULL;
  return NULL;
}

static enum auth_status plaintext_server(struct auth_server *s) {
  const struct plaintext_opts *ob = s->i->ob;
  const char *prompts, *prompt;
  int sep = 0, have = 0, number = 0;
  struct str data;
  enum auth_status st = auth_expand(s, ob->server_prompts, &prompts);
  if (st != AUTH_OK) return AUTH_DEFER;
  if (s->initial) {
    st = auth_initial(s, &data);
    if (st != AUTH_OK) return st;
    auth_set_data(s->x, data, &have);
  }
  while (prompts && have < EXPAND_MAX_CAPTURES && (prompt = list_next(s->x->a, &prompts, &sep))) {
    if (number++ < have) continue;
    st = auth_ask(s, str_c(prompt), &data);
    if (st != AUTH_OK) return st;
    auth_set_data(s->x, data, &have);
  }
  return auth_condition(s);
}

/* One string of client_send as it goes out. */
static struct str with_nuls(struct arena *a, const char *text) {
  char *p = arena_strdup(a, text);
  size_t n = 0;
  for (const char *t = text; *t; t++) {
    if (*t == '^' && t[1] == '^') p[n++] = *t++;
    else p[n++] = *t == '^' ? '\0' : *t;
  }
  return str_n(p, n);
}

/* The prompt that was answered last becomes $authN of the next string. */
static enum auth_status keep_prompt(struct auth_client *c, int n) {
  const struct plaintext_opts *ob = c->i->ob;
  struct str prompt = STR("");
  size_t len;
  char *p = base64_decode(c->x->a, str_c(c->challenge), &len);
  if (p) prompt = str_n(p, len);
  else if (!ob->client_ignore_invalid_base64) return auth_client_challenge(c, &prompt);
  auth_set_var(c->x, n, arena_strndup(c->x->a, prompt.p, str_index(prompt, '\0')));
  return AUTH_OK;
}

static enum auth_status plaintext_client(struct auth_client *c) {
  const struct plaintext_opts *ob = c->i->ob;
  const char *list = ob->client_send, *item, *text;
  int sep = 0, number = 0;
  enum auth_status st = AUTH_MORE;
  while (st == AUTH_MORE && (item = list_next(c->x->a, &list, &sep))) {
    enum auth_status ready = number > 0 ? keep_prompt(c, number) : AUTH_OK;
    if (ready != AUTH_OK) return ready;
    ready = auth_client_expand(c, item, &text);
    if (ready != AUTH_OK && number > 0 && auth_client_cancel(c, c->error) == AUTH_LOST) return AUTH_LOST;
    if (ready != AUTH_OK) return ready;
    struct str data = with_nuls(c->x->a, text);
    st = number++ > 0 ? auth_client_more(c, data) : auth_client_first(c, data.n ? data : STR_NULL);
  }
  if (st == AUTH_MORE) { /* nothing is left to say; a challenge that is none at all can be ended, and another mechanism tried */
    enum auth_status ready = keep_prompt(c, number);
    if (ready != AUTH_OK) return ready;
  }
  return st;
}

const struct auth_driver plaintext_auth = {
  .name = "plaintext",
  .options = plaintext_options,
  .option_count = ARRAY_SIZE(plaintext_options),
  .ob_size = sizeof(struct plaintext_opts),
  .init = plaintext_init,
  .server = plaintext_server,
  .client = plaintext_client,
};
