/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The spa authenticator: NTLM.  Floor: drivers.  Manual ch. 39; MS-NLMP, MS-SMTPNTLM.
 *
 * Client: NEGOTIATE, then AUTHENTICATE in answer to the CHALLENGE; version 2 of the responses when the server sends its target information,
 * else version 1.  Server: the clear password comes from server_password; either version of the response is checked against it.
 * The first 334 is the plain text MS-SMTPNTLM asks for, no base64.  Messages are parsed in formats/ntlm.c. */
#include "auth.h"
#include "auths/drivers.h"
#include "auths/ntlm_proof.h"

#include "base/rand.h"
#include "base/timeutil.h"
#include "formats/codecs.h"

struct spa_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "auths/spa_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct spa_opts, n, t, d, f)
static const struct option spa_options[] = {
#include "auths/spa_options.def"
};
#undef OPT_ROW

static const char *spa_init(struct arena *a UNUSED, struct config *c UNUSED, struct auth_instance *i) {
  const struct spa_opts *ob = i->ob;
  i->is_server = ob->server_password != NULL;
  i->is_client = ob->client_username && ob->client_password;
  if (!ob->client_username != !ob->client_password) return "one of client_username and client_password cannot be set without the other";
  return NULL;
}

/* ---- server ---- */

static bool is_proved(struct auth_server *s, const struct ntlm_authenticate *m, const unsigned char *nonce, const char *password) {
  if (m->nt.n == NTLM_V1_RESPONSE) {
    unsigned char want[NTLM_V1_RESPONSE];
    ntlm_proof_v1(s->x->a, password, nonce, want);
    return bytes_eq_secret(m->nt.p, want, sizeof(want));
  }
  unsigned char want[16];
  if (m->nt.n < NTLM_V2_MIN || !(m->flags & NTLM_UNICODE)) return false;
  struct str client_bytes = str_n(m->nt.p + 16, m->nt.n - 16);
  return ntlm_proof_v2(s->x->a, password, m->user, m->domain, nonce, client_bytes, want) && bytes_eq_secret(m->nt.p, want, sizeof(want));
}

static enum auth_status spa_server(struct auth_server *s) {
  const struct spa_opts *ob = s->i->ob;
  struct arena *a = s->x->a;
  struct ntlm_authenticate m;
  struct strbuf challenge = strbuf_new(a);
  unsigned char nonce[NTLM_NONCE];
  const char *text = s->initial, *password;
  struct str bytes;
  enum auth_status st = text ? AUTH_OK : s->ask(s, "NTLM supported", &text);
  if (st != AUTH_OK) return st;
  if (!base64_decode(a, str_c(text), &bytes.n)) return AUTH_BAD64; /* what it negotiates we do not need to know */
  rand_bytes(nonce, sizeof(nonce));
  ntlm_put_challenge(&challenge, nonce);
  st = auth_ask(s, strbuf_str(&challenge), &bytes);
  if (st != AUTH_OK) return st;
  const char *user = ntlm_parse_authenticate(bytes, &m) ? ntlm_text(a, m.user, m.flags) : NULL;
  if (!user) return AUTH_FAIL;
  auth_set_var(s->x, 1, user);
  st = auth_expand(s, ob->server_password, &password);
  if (st != AUTH_OK) return st;
  if (!*password) return AUTH_FAIL; /* a name without a password: anybody could prove that */
  return is_proved(s, &m, nonce, password) ? auth_condition(s) : AUTH_FAIL;
}

/* ---- client ---- */

static enum auth_status send_negotiate(struct auth_client *c) {
  struct strbuf b = strbuf_new(c->x->a);
  enum auth_status st = auth_client_first(c, STR_NULL);
  if (st != AUTH_MORE) return st;
  ntlm_put_negotiate(&b);
  return auth_client_more(c, strbuf_str(&b));
}

/* 100 ns steps since 1601. */
static uint64_t filetime_now(void) {
  struct timeval now = time_now();
  return (UINT64_C(11644473600) + (uint64_t)now.tv_sec) * 10000000 + (uint64_t)now.tv_usec * 10;
}

static bool make_responses(struct auth_client *c, const struct ntlm_challenge *ch, const char *password, struct ntlm_authenticate *m) {
  struct arena *a = c->x->a;
  if (ch->target_info.n == 0) {
    unsigned char nt[NTLM_V1_RESPONSE];
    ntlm_proof_v1(a, password, ch->nonce, nt);
    m->nt = str_n(arena_strndup(a, (const char *)nt, sizeof(nt)), sizeof(nt));
    m->lm = m->nt; /* a server that wants the older one takes this too */
    return true;
  }
  unsigned char mine[NTLM_NONCE], proof[16];
  rand_bytes(mine, sizeof(mine));
  struct str bytes = ntlm_client_bytes(a, ch->target_info, filetime_now(), mine);
  if (!ntlm_proof_v2(a, password, m->user, m->domain, ch->nonce, bytes, proof)) return false;
  struct strbuf nt = strbuf_new(a);
  strbuf_add(&nt, (const char *)proof, sizeof(proof));
  strbuf_addstr(&nt, bytes);
  m->nt = strbuf_str(&nt);
  static const char no_lm[24];
  m->lm = str_n(no_lm, sizeof(no_lm));
  return true;
}

static enum auth_status spa_client(struct auth_client *c) {
  const struct spa_opts *ob = c->i->ob;
  const char *user, *password, *domain = "";
  struct ntlm_challenge ch;
  struct str bytes;
  enum auth_status st = auth_client_expand(c, ob->client_password, &password);
  if (st == AUTH_OK) st = auth_client_expand(c, ob->client_username, &user);
  if (st == AUTH_OK && ob->client_domain) st = auth_client_expand(c, ob->client_domain, &domain);
  if (st != AUTH_OK) return st;
  st = send_negotiate(c);
  if (st != AUTH_MORE) return st;
  st = auth_client_challenge(c, &bytes);
  if (st != AUTH_OK) return st;
  if (!ntlm_parse_challenge(bytes, &ch)) return auth_client_cancel(c, "malformed NTLM challenge");
  struct ntlm_authenticate m = {.flags = NTLM_UNICODE | NTLM_NTLM | NTLM_ALWAYS_SIGN};
  m.user = ntlm_utf16(c->x->a, user);
  m.domain = ntlm_utf16(c->x->a, domain);
  m.workstation = ntlm_utf16(c->x->a, c->x->cfg->primary_hostname);
  if (m.user.n > 1024 || m.domain.n > 1024 || !make_responses(c, &ch, password, &m))
    return auth_client_cancel(c, "the NTLM response cannot be made");
  struct strbuf b = strbuf_new(c->x->a);
  ntlm_put_authenticate(&b, &m);
  return auth_client_more(c, strbuf_str(&b));
}

const struct auth_driver spa_auth = {
  .name = "spa",
  .options = spa_options,
  .option_count = ARRAY_SIZE(spa_options),
  .ob_size = sizeof(struct spa_opts),
  .init = spa_init,
  .server = spa_server,
  .client = spa_client,
};
