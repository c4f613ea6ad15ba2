/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each authenticator driver, as server and as client, against a peer that says anything.  Input: a byte that chooses the authenticator and the
 * side, then the peer's lines.  Nobody who does not know the password is let in. */
#include <string.h>

#include "auth.h"
#include "os/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
  const char *driver, *mechanism, *condition, *options; /* "name=value;..." */
} kinds[] = {
  {"plaintext", "LOGIN", "${if and{{eq{$auth1}{user}}{eq{$auth2}{dGhlc2VjcmV0}}}}", "server_prompts=Username:: : Password::;client_send=: user : a^^b^$auth1"},
  {"plaintext", "PLAIN", "${if and{{eq{$auth2}{user}}{eq{$auth3}{dGhlc2VjcmV0}}}}", "server_prompts=:;client_ignore_invalid_base64=true;client_send=^user^x : y$auth1"},
  {"cram_md5", "CRAM-MD5", NULL, "server_secret=dGhlc2VjcmV0;client_name=user;client_secret=dGhlc2VjcmV0"},
  {"external", "EXTERNAL", "${if eq{$auth2}{dGhlc2VjcmV0}}", "server_param2=${length_20:$auth1};client_send=user"},
  {"spa", "NTLM", NULL, "server_password=dGhlc2VjcmV0;client_username=user;client_password=dGhlc2VjcmV0;client_domain=dom"},
  {"gsasl", "SCRAM-SHA-256", NULL, "server_password=dGhlc2VjcmV0;client_username=user;client_password=dGhlc2VjcmV0"},
  {"gsasl", "SCRAM-SHA-1", NULL, "server_password=dGhlc2VjcmV0;server_scram_iter=4096;client_username=user;client_password=dGhlc2VjcmV0"},
  {"gsasl", "DIGEST-MD5", NULL, "server_password=dGhlc2VjcmV0;client_username=user;client_password=dGhlc2VjcmV0"},
  {"gsasl", "LOGIN", NULL, "server_password=dGhlc2VjcmV0;client_username=user;client_password=x"},
  {"gsasl", "CRAM-MD5", NULL, "server_password=dGhlc2VjcmV0;client_username=user;client_password=dGhlc2VjcmV0"},
};

struct peer {
  struct arena *a;
  struct str rest;
};

/* The next line of the peer, NULL at the end; no CR, NUL or LF in it, as the readers of lines see to. */
static const char *next(struct peer *p) {
  if (!p->rest.n) return NULL;
  struct str line = str_cut(&p->rest, '\n');
  if (memchr(line.p, '\0', line.n) || memchr(line.p, '\r', line.n) || line.n > 16384) return NULL;
  return arena_strndup_t(p->a, line.p, line.n, TAINTED);
}

static enum auth_status ask(struct auth_server *s, const char *challenge64, const char **ret) {
  *ret = next(s->ctx);
  INVARIANT(!strpbrk(challenge64, "\r\n"));
  return !*ret ? AUTH_LOST : strcmp(*ret, "*") == 0 ? AUTH_CANCELLED : AUTH_OK;
}

static enum auth_status speak(struct auth_client *c, const char *line) {
  INVARIANT(!strpbrk(line, "\r\n"));
  c->reply = next(c->ctx);
  if (!c->reply) return AUTH_LOST;
  c->challenge = strlen(c->reply) > 4 ? c->reply + 4 : "";
  return *c->reply == '2' ? AUTH_OK : *c->reply == '3' ? AUTH_MORE : *c->reply == '5' ? AUTH_FAIL : AUTH_DEFER;
}

static bool make_instance(struct arena *a, struct config *cfg, size_t kind, struct auth_instance *i) {
  const struct auth_driver *d = NULL;
  for (size_t n = 0; auth_drivers[n]; n++)
    if (strcmp(auth_drivers[n]->name, kinds[kind].driver) == 0) d = auth_drivers[n];
  if (!d) return false; /* not in this build */
  *i = (struct auth_instance){.name = "fuzz", .driver = d, .ob = arena_alloc(a, d->ob_size)};
  i->o.public_name = kinds[kind].mechanism;
  i->o.server_condition = kinds[kind].condition;
  i->o.server_set_id = "$auth1";
  i->ob_block = opt_block_new(a, d->options, d->option_count, i->ob);
  for (struct str all = str_c(kinds[kind].options); all.n;) {
    struct str value = str_cut(&all, ';'), name = str_cut(&value, '=');
    const char *error = opt_store(a, i->ob_block, opt_find(d->options, d->option_count, name), value, false, false, false);
    INVARIANT(!error);
  }
  INVARIANT(!d->init(a, cfg, i) && i->is_server && i->is_client);
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  struct arena *a = arena_new("fuzz");
  struct config cfg = {.arena = a, .primary_hostname = "mx.test.ex"};
  struct auth_instance i;
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  struct peer p = {a, str_n((const char *)data + 1, size - 1)};
  if (make_instance(a, &cfg, data[0] / 2 % ARRAY_SIZE(kinds), &i)) {
    if (data[0] % 2) {
      struct auth_client c = {.i = &i, .x = &x, .speak = speak, .ctx = &p};
      (void)i.driver->client(&c);
    } else {
      const char *initial = next(&p);
      struct auth_server s = {.i = &i, .x = &x, .ask = ask, .ctx = &p, .initial = initial && *initial ? initial : NULL};
      enum auth_status st = i.driver->server(&s);
      bool may = strcmp(i.driver->name, "plaintext") == 0 || strcmp(i.driver->name, "external") == 0 || strcmp(i.o.public_name, "LOGIN") == 0;
      INVARIANT(st != AUTH_OK || may); /* a challenge was random: no input knows the answer */
    }
  }
  arena_free(a);
  return 0;
}
