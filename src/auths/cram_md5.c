/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cram_md5 authenticator: CRAM-MD5.  Floor: drivers.  Manual ch. 35; RFC 2195.
 *
 * The answer to the challenge is "user hex(HMAC-MD5(secret, challenge))".  The challenge holds random bits, so that an answer that was
 * overheard is of no use a second time; under the test harness it is the example of the RFC. */
#include "auth.h"
#include "auths/drivers.h"

#include <gnutls/crypto.h>

#include "base/rand.h"
#include "base/timeutil.h"
#include "formats/codecs.h"
#include "os/debug.h"
#include "policy/narrate.h"

enum { CRAM_DIGEST = 16, CRAM_HEX = 2 * CRAM_DIGEST };

struct cram_md5_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "auths/cram_md5_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct cram_md5_opts, n, t, d, f)
static const struct option cram_md5_options[] = {
#include "auths/cram_md5_options.def"
};
#undef OPT_ROW

static const char *cram_md5_init(struct arena *a UNUSED, struct config *c, struct auth_instance *i) {
  struct cram_md5_opts *ob = i->ob;
  i->is_server = ob->server_secret != NULL;
  i->is_client = ob->client_secret != NULL;
  if (i->is_client && !ob->client_name) ob->client_name = c->primary_hostname ? c->primary_hostname : c->o.primary_hostname;
  return NULL;
}

/* Hex digest of challenge under secret, NULL when the library refuses the algorithm. */
static const char *cram_digest(struct arena *a, const char *secret, struct str challenge) {
  unsigned char d[CRAM_DIGEST];
  if (gnutls_hmac_fast(GNUTLS_MAC_MD5, secret, strlen(secret), challenge.p, challenge.n, d) < 0) return NULL;
  return hex_encode(a, d, sizeof(d));
}

static const char *new_challenge(struct expand_ctx *x) {
  if (x->cfg->harness_mode) return "<1896.697170952@postoffice.reston.mci.net>";
  uint64_t r;
  rand_bytes(&r, sizeof(r));
  return arena_printf(x->a, "<%llu.%lld@%s>", (unsigned long long)r, (long long)time_now().tv_sec, x->cfg->primary_hostname);
}

static enum auth_status cram_md5_server(struct auth_server *s) {
  const struct cram_md5_opts *ob = s->i->ob;
  const char *challenge = new_challenge(s->x), *secret;
  struct str answer;
  if (s->initial) return AUTH_UNEXPECTED;
  enum auth_status st = auth_ask(s, str_c(challenge), &answer);
  if (st != AUTH_OK) return st;
  answer.n = str_index(answer, '\0');
  size_t user = answer.n;
  while (user > 0 && !ch_isspace(answer.p[user - 1])) user--;
  struct str digest = str_n(answer.p + user, answer.n - user), name = str_rtrim(str_n(answer.p, user));
  if (user == 0) name = digest; /* no proof at all: the log says who did not give one */
  auth_set_var(s->x, 1, arena_strndup(s->x->a, name.p, name.n));
  if (user == 0 || digest.n != CRAM_HEX) return AUTH_FAIL;
  st = auth_expand(s, ob->server_secret, &secret);
  if (st != AUTH_OK) return st;
  auth_debug_print(s);
  if (!*secret) return AUTH_FAIL; /* a name without a secret: anybody could prove that */
  const char *want = cram_digest(s->x->a, secret, str_c(challenge));
  if (!want) {
    s->log_text = "HMAC-MD5 is not available";
    return AUTH_DEFER;
  }
  narrate(s->x, D_AUTH, "CRAM-MD5: user name = %.*s", STR_FMT(name));
  narrate(s->x, D_AUTH, "          challenge = %s", challenge);
  narrate(s->x, D_AUTH, "          received  = %.*s", STR_FMT(digest));
  narrate(s->x, D_AUTH, "          digest    = %s", want);
  if (!bytes_eq_secret(digest.p, want, CRAM_HEX)) return AUTH_FAIL;
  return auth_condition(s);
}

static enum auth_status cram_md5_client(struct auth_client *c) {
  const struct cram_md5_opts *ob = c->i->ob;
  const char *secret, *name;
  struct str challenge;
  enum auth_status st = auth_client_expand(c, ob->client_secret, &secret);
  if (st == AUTH_OK) st = auth_client_expand(c, ob->client_name ? ob->client_name : "$primary_hostname", &name);
  if (st != AUTH_OK) return st;
  st = auth_client_first(c, STR_NULL);
  if (st != AUTH_MORE) return st;
  challenge.p = base64_decode(c->x->a, str_c(c->challenge), &challenge.n);
  if (!challenge.p) { /* as Exim: such a server gets no mail, with or without authentication */
    c->error = arena_printf(c->x->a, "bad base 64 string in challenge:  %s", c->i->o.public_name);
    return AUTH_DEFER;
  }
  const char *digest = cram_digest(c->x->a, secret, challenge);
  if (!digest) return auth_client_cancel(c, "HMAC-MD5 is not available");
  return auth_client_more(c, str_c(arena_printf(c->x->a, "%s %s", name, digest)));
}

const struct auth_driver cram_md5_auth = {
  .name = "cram_md5",
  .options = cram_md5_options,
  .option_count = ARRAY_SIZE(cram_md5_options),
  .ob_size = sizeof(struct cram_md5_opts),
  .init = cram_md5_init,
  .server = cram_md5_server,
  .client = cram_md5_client,
};
