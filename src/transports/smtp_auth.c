/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client authenticates: which mechanisms fit, the exchange, AUTH= of MAIL.  Floor: drivers.  Manual ch. 33.5; RFC 4954.
 *
 * Authenticators are tried in their order in the configuration.  A 5xx or a cancelled exchange leads to the next one; anything else that goes
 * wrong ends the attempt at this host, temporarily.  Log lines:
 *     "NAME authenticator failed H=HOST [IP] REPLY"
 *     "NAME authenticator cancelled authentication H=HOST [IP] REASON"
 * Secrets appear in no log or debug line: what is sent is shown as asterisks.  Replies are hostile, see smtp_reply.c. */
#include "transports/smtp_priv.h"

#include "auth.h"
#include "formats/smtp_grammar.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"

/* ---- who fits --------------------------------------------------------------------------------------------- */

struct str smtp_auth_mechanisms(struct arena *a, struct str reply) {
  struct strbuf b = strbuf_new(a);
  for (bool first = true; reply.n; first = false) {
    struct str line = str_cut(&reply, '\n');
    if (first || line.n <= 4) continue;
    struct str rest = str_n(line.p + 4, line.n - 4), word = str_word(&rest);
    if (!str_eqic(word, STR("AUTH"))) continue;
    while ((word = str_word(&rest)).n) {
      strbuf_addc(&b, ' ');
      strbuf_addstr(&b, word);
    }
  }
  return strbuf_str(&b);
}

static bool is_offered(struct str mechanisms, const char *name) {
  for (struct str word; (word = str_word(&mechanisms)).n;)
    if (str_eqic_c(word, name)) return true;
  return false;
}

uint16_t smtp_auth_usable(const struct config *cfg, struct str mechanisms) {
  uint16_t bits = 0;
  int n = 0;
  for (const struct auth_instance *i = cfg->auths; i && n < 16; i = i->next, n++)
    if (i->is_client && is_offered(mechanisms, i->o.public_name)) bits |= (uint16_t)(1u << n);
  return bits;
}

bool smtp_auth_is_wanted(struct smtp_attempt *s) {
  if (s->auth_policy_known) return s->auth_required || s->auth_wanted;
  s->auth_policy_known = true;
  /* A list that cannot be looked up now is no permission to go on without: what is then refused would bounce. */
  s->auth_required = match_this_host(s->d->x, "hosts_require_auth", s->ob->hosts_require_auth, s->host->name, s->host->address) != OUTCOME_FAIL;
  s->auth_wanted = s->auth_required || smtp_host_listed(s, "hosts_try_auth", s->ob->hosts_try_auth);
  return s->auth_wanted;
}

static bool condition_allows(struct smtp_attempt *s, const struct auth_instance *i) {
  struct expand_ctx *x = s->d->x;
  const char *condition = i->o.client_condition, *r = condition ? expand_string(x, condition) : "yes";
  if (r) return !text_means_no(r);
  if (!x->forced_fail)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand condition \"%s\" for %s client authenticator: %s", condition, i->name,
              x->error);
  return false;
}

/* ---- one exchange ----------------------------------------------------------------------------------------- */

/* A line as logs may show it: the data of AUTH and whole response lines are secrets. */
static const char *masked(struct arena *a, const char *line) {
  if (strcmp(line, "*") == 0) return line;
  char *shown = arena_strdup(a, line);
  size_t from = 0;
  if (strncmp(line, "AUTH ", 5) == 0) from = 5 + strcspn(line + 5, " ");
  for (size_t n = from; shown[n]; n++)
    if (shown[n] != ' ') shown[n] = '*';
  return shown;
}

static void send_line(struct smtp_attempt *s, const char *line) {
  const char *shown = masked(s->a, line);
  DEBUG(D_TRANSPORT | D_V) {
    debug_printf("  SMTP>> %s\n", shown);
    smtp_note_said(s, shown, "");
  }
  smtp_put_line(s, line);
  smtp_expect(s, AT_AUTH, NULL, shown);
}

static enum auth_status speak(struct auth_client *c, const char *line) {
  struct smtp_attempt *s = c->ctx;
  struct smtp_awaited what;
  struct smtp_reply r;
  const char *shown = masked(s->a, line);
  if (s->dead || strpbrk(line, "\r\n")) return AUTH_LOST;
  if (!s->early_auth_line) {
    send_line(s, line);
  } else { /* it left with EHLO */
    if (strcmp(s->early_auth_line, line) != 0) return AUTH_LOST;
    s->early_auth_line = NULL;
  }
  if (!c->reply) smtp_note_step(s, 'a');
  s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
  if (!smtp_read_reply(s, &what, &r)) return AUTH_LOST;
  c->reply = r.text;
  c->challenge = strlen(r.text) > 4 ? r.text + 4 : "";
  s->auth_reply = r;
  s->auth_shown = shown;
  switch (r.code / 100) {
    case 2: return AUTH_OK;
    case 3: return AUTH_MORE;
    case 5: return AUTH_FAIL;
    default: return AUTH_DEFER;
  }
}

static void take_success(struct smtp_attempt *s, const struct auth_instance *i) {
  const char *id = i->o.client_set_id ? expand_string(s->d->x, i->o.client_set_id) : NULL;
  s->auth_name = i->name;
  s->auth_id = id && *id ? arena_strdup(s->a, id) : NULL;
}

/* Refused for a reason of its own, or because the promise is gone, or what came behind it went wrong with it (F20). */
static bool smtp_auth_is_doubtful(const struct smtp_attempt *s) { return s->early_auth && ((s->early && !s->promise_stands) || s->group_in_flight); }

/* Run one authenticator.  The variables are the exchange's own. */
static enum auth_status try_one(struct smtp_attempt *s, const struct auth_instance *i) {
  struct auth_client c = {.i = i, .x = s->d->x, .speak = speak, .ctx = s};
  struct expand_scope scope = s->d->x->s;
  s->auth_reply = (struct smtp_reply){0};
  auth_clear_vars(s->d->x);
  enum auth_status st = i->driver->client(&c);
  if (st == AUTH_OK) take_success(s, i);
  auth_clear_vars(s->d->x);
  s->d->x->s = scope;
  if (st != AUTH_OK && smtp_auth_is_doubtful(s)) return st; /* said and done by the plain attempt */
  if (st == AUTH_FAIL)
    log_write(LS_ALWAYS, LOG_MAIN, "%s authenticator failed %s %s", i->name, smtp_host_shown(s), c.reply ? c.reply : c.error);
  if (st == AUTH_CANCELLED && c.error)
    log_write(LS_ALWAYS, LOG_MAIN, "%s authenticator cancelled authentication %s %s", i->name, smtp_host_shown(s), c.error);
  if (st == AUTH_DEFER || st == AUTH_MORE || st == AUTH_BAD64 || st == AUTH_UNEXPECTED) {
    if (c.error)
      smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_AUTH, .at = AT_AUTH, .err = ERRNO_AUTHPROB, .is_ours = st == AUTH_DEFER, .reply = c.error});
    else
      smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_REPLY, .at = AT_AUTH, .code = 400, .command = s->auth_shown,
                                                 .reply = s->auth_reply.text});
    return AUTH_DEFER;
  }
  return st;
}

static bool required_failed(struct smtp_attempt *s, const char *why) {
  if (!s->auth_required) return true;
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_AUTH, .at = AT_AUTH, .err = ERRNO_AUTHFAIL,
                                             .reply = arena_printf(s->a, "authentication required but %s", why)});
  return false;
}

/* ---- in the flight ---------------------------------------------------------------------------------------- */

/* Only listens: what would be said first? */
static enum auth_status overhear(struct auth_client *c, const char *line) {
  const char **first = c->ctx;
  if (!*first) *first = line;
  return AUTH_LOST;
}

static const char *first_line_of(struct smtp_attempt *s, const struct auth_instance *i) {
  const char *first = NULL;
  struct auth_client c = {.i = i, .x = s->d->x, .speak = overhear, .ctx = &first};
  struct expand_scope scope = s->d->x->s;
  auth_clear_vars(s->d->x);
  (void)i->driver->client(&c);
  auth_clear_vars(s->d->x);
  s->d->x->s = scope;
  return first && !strpbrk(first, "\r\n") ? arena_strdup(s->a, first) : NULL;
}

/* One round trip, and no security layer to follow (RFC 4954 section 4): more commands may stand behind it. */
static bool is_single(const struct auth_instance *i, const char *line) {
  const char *name = i->o.public_name;
  bool has_response = strncmp(line, "AUTH ", 5) == 0 && line[5 + strcspn(line + 5, " ")] == ' ';
  return has_response && (strcmpic(name, "PLAIN") == 0 || strcmpic(name, "EXTERNAL") == 0);
}

static const struct auth_instance *first_usable(struct smtp_attempt *s, uint16_t offered) {
  int n = 0;
  for (const struct auth_instance *i = s->d->cfg->auths; i && n < 16; i = i->next, n++)
    if ((offered & 1u << n) && i->is_client && i->driver->client && condition_allows(s, i)) return i;
  return NULL;
}

static uint16_t bit_of(const struct smtp_attempt *s, const struct auth_instance *which) {
  unsigned bit = 1;
  for (const struct auth_instance *i = s->d->cfg->auths; i && i != which; i = i->next) bit <<= 1;
  return (uint16_t)bit;
}

const struct auth_instance *smtp_auth_first(struct smtp_attempt *s, uint16_t offered, const char **ret_line, bool *ret_single) {
  const struct auth_instance *i = first_usable(s, offered);
  const char *line = i ? first_line_of(s, i) : NULL, *again = line ? first_line_of(s, i) : NULL;
  *ret_line = again && strcmp(line, again) == 0 ? line : NULL; /* with a nonce in it, the exchange cannot be begun twice */
  *ret_single = *ret_line && is_single(i, line);
  return i;
}

bool smtp_auth_put_in_flight(struct smtp_attempt *s, uint16_t offered, bool *ret_more) {
  const char *line;
  const struct auth_instance *i = smtp_auth_first(s, offered, &line, ret_more);
  if (!line) return false;
  send_line(s, line);
  s->early_auth = i;
  s->early_auth_line = line;
  s->used_auths = bit_of(s, i);
  if (*ret_more) s->auth_name = i->name; /* for AUTH= of the MAIL behind it */
  return true;
}

/* The reply to an early AUTH.  True: go on as *ret says. */
static bool finish_early(struct smtp_attempt *s, enum auth_status *ret) {
  *ret = try_one(s, s->early_auth);
  if (*ret == AUTH_OK) return true;
  s->auth_name = s->auth_id = NULL;
  if (!smtp_auth_is_doubtful(s)) return true;
  s->inconclusive = true;
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_REPLY, .at = AT_AUTH, .code = 400, .command = s->auth_shown, .reply = s->auth_reply.text});
  return false;
}

bool smtp_authenticate(struct smtp_attempt *s) {
  bool any = false;
  enum auth_status early = AUTH_SKIP;
  s->auth_name = s->auth_id = NULL;
  if (!smtp_auth_is_wanted(s)) return true;
  struct str mechanisms = smtp_auth_mechanisms(s->a, str_c(s->ehlo_reply));
  if (s->early_auth && !finish_early(s, &early)) return false;
  if (early == AUTH_OK) return true;
  if (early == AUTH_LOST || early == AUTH_DEFER) return false;
  any = early != AUTH_SKIP;
  if (!mechanisms.n) return required_failed(s, "server did not advertise AUTH support");
  DEBUG(D_AUTH) debug_printf("server offers:%.*s\n", STR_FMT(mechanisms));
  for (const struct auth_instance *i = s->d->cfg->auths; i; i = i->next) {
    if (i == s->early_auth || !i->is_client || !i->driver->client || !is_offered(mechanisms, i->o.public_name) || !condition_allows(s, i)) continue;
    enum auth_status st = try_one(s, i);
    if (st == AUTH_OK) return true;
    if (st == AUTH_LOST || st == AUTH_DEFER) return false;
    any = any || st != AUTH_SKIP;
  }
  return required_failed(s, any ? "authentication attempt(s) failed" : "no common mechanisms were found");
}

/* ---- AUTH= of MAIL ---------------------------------------------------------------------------------------- */

bool smtp_auth_prepare_mail(struct smtp_attempt *s) {
  struct expand_ctx *x = s->d->x;
  const struct origin *from = s->d->msg->from;
  const char *sender = from ? from->auth_sender : NULL;
  s->auth_sender = s->auth_mail_param = NULL;
  if (s->ob->authenticated_sender) {
    const char *own = expand_string(x, s->ob->authenticated_sender);
    if (!own && !x->forced_fail) {
      smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_AUTH, .at = AT_MAIL, .err = ERRNO_EXPANDFAIL,
                                                 .reply = arena_printf(s->a, "failed to expand authenticated_sender: %s", x->error)});
      return false;
    }
    if (own && *own) sender = own;
  }
  bool forced = s->ob->authenticated_sender_force && s->ob->authenticated_sender;
  if (!sender || !*sender || (!s->auth_name && !forced)) return true;
  s->auth_sender = arena_strdup(s->a, sender);
  s->auth_mail_param = arena_printf(s->a, " AUTH=%s", xtext_encode(s->a, str_c(sender)));
  return true;
}

void smtp_auth_set_facts(const struct smtp_attempt *s, struct address *a) {
  bool first = s->sequence == 1; /* a later message rides on what the first one proved */
  a->auth_name = first ? s->auth_name : NULL;
  a->auth_id = first ? s->auth_id : NULL;
  a->auth_sndr = first ? s->auth_sender : NULL;
}
