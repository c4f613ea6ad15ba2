/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the modes share; above all who called, as the peer of a session: what is known about him, and what -f and -oM say.  Floor: main.
 *
 * Trusted callers may say where a message comes from and who sent it; others may in tests only, where nothing is submitted.  Either way the texts are
 * tainted. */
#include "cmd_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "os/log.h"
#include "os/stream.h"
#include "policy/expand.h"
#include "policy/match.h"

bool run_is_admin(const struct run *r) {
  return r->who.is_admin || r->cfg->harness_mode;
}

int run_refuse(const char *text) {
  fprintf(stderr, "exim: %s\n", text);
  return EXIT_FAILURE;
}

int run_print_help(void) {
  fprintf(stderr, "Exim is a Mail Transfer Agent. It is normally called by Mail User Agents,\n"
         "not directly from a shell command line. Options and/or arguments control\n"
         "what it does when called. For a list of options, see the Exim documentation.\n");
  return EXIT_FAILURE;
}

const char *run_foreign(struct arena *a, const char *text) {
  return arena_strdup_t(a, text, TAINTED);
}

bool run_split_host_port(struct arena *a, const char *text, const char **ret_ip, int *ret_port) {
  struct str s = str_c(text), port = STR_NULL;
  if (s.n && s.p[0] == '[') {
    size_t end = str_index(s, ']');
    if (end == s.n) return false;
    port = str_n(s.p + end + 1, s.n - end - 1);
    s = str_n(s.p + 1, end - 1);
    if (port.n && *port.p++ == ':') port.n--;
  } else if (!ip_text_kind(text, NULL)) {
    const char *dot = strrchr(text, '.');
    if (!dot) return false;
    s = str_n(text, (size_t)(dot - text));
    port = str_c(dot + 1);
  }
  const char *ip = arena_strndup_t(a, s.p, s.n, TAINTED);
  if (!ip_text_kind(ip, NULL) || (port.n && !str_parse_int(port, ret_port))) return false;
  *ret_ip = ip;
  return true;
}

/* Nothing is submitted: anybody may say where it would come from (manual ch. 5, -oMa). */
static bool is_test_mode(enum cmd_action action) {
  return action == CMD_HOST_CHECK || action == CMD_EXPAND || action == CMD_TEST_FILTER || action == CMD_TEST_ADDRESS ||
         action == CMD_VERIFY_RECIPIENT || action == CMD_VERIFY_SENDER;
}

bool run_apply_origin(struct run *r, struct conn *k) {
  const struct cmdline *c = r->c;
  struct origin *o = &k->from;
  struct arena *a = k->arena;
  if (!r->who.is_trusted && !is_test_mode(c->action)) return true;
  if (c->om_address) {
    if (!run_split_host_port(a, c->om_address, &o->host_address, &o->host_port)) return false;
    o->host_unknown = true;
    if (c->action != CMD_HOST_CHECK) o->ident = NULL;
  }
  if (c->om_interface && !run_split_host_port(a, c->om_interface, &o->interface_address, &o->interface_port)) return false;
  if (c->om_host) o->host_name = run_foreign(a, c->om_host);
  if (c->om_ident) o->ident = run_foreign(a, c->om_ident);
  if (c->om_protocol) o->protocol = run_foreign(a, c->om_protocol);
  if (c->om_auth_name) o->auth_name = run_foreign(a, c->om_auth_name);
  if (c->om_auth_id) o->auth_id = run_foreign(a, c->om_auth_id);
  if (c->om_auth_sender) o->auth_sender = run_foreign(a, c->om_auth_sender);
  if (o->host_address) origin_set_fullhost(a, o, log_selects(LS_INCOMING_PORT));
  return true;
}

bool run_has_origin_options(const struct cmdline *c) {
  return c->om_address || c->om_interface || c->om_host || c->om_ident || c->om_protocol || c->om_auth_name || c->om_auth_id || c->om_auth_sender;
}

struct conn *run_conn(struct run *r, int fd_in, int fd_out) {
  struct arena *a = arena_new("conn");
  struct conn *k = ARENA_NEW(a, struct conn);
  k->arena = a;
  k->cfg = r->cfg;
  k->io = stream_new(a, fd_in, fd_out, false);
  k->started = time_now();
  k->command_names = vec_new(a);
  k->from.host_aliases = vec_new(a);
  k->from.ident = r->who.login;
  k->is_local_caller = true;
  k->login = r->who.login;
  k->real_name = r->c->full_name ? run_foreign(a, r->c->full_name) : r->who.real_name;
  k->uid = r->who.uid;
  k->gid = r->who.gid;
  k->is_trusted = r->who.is_trusted;
  k->is_admin = r->who.is_admin;
  k->dont_deliver = r->c->dont_deliver;
  k->suppress_local_fixups = r->c->gateway;
  k->no_qualify = r->c->no_qualify;
  k->hold_smtp = r->c->queue_smtp;
  return k;
}

bool run_choose_sender(struct run *r, struct arena *a, const char **ret) {
  const struct main_options *mo = &r->cfg->o;
  const char *error = NULL;
  size_t domain = 0;
  *ret = NULL;
  if (!r->c->sender) return true;
  struct addr_opts ao = {.allow_empty = true, .allow_domain_literal = true, .allow_utf8 = true, .strip_trailing_dot = mo->strip_trailing_dot};
  const char *text = run_foreign(a, r->c->sender);
  const char *addr = *text ? rfc5322_extract_address(a, str_c(text), ao, &domain, &error) : "";
  if (!addr) {
    fprintf(stderr, "exim: bad -f address \"%s\": %s\n", r->c->sender, error);
    return false;
  }
  if (*addr && !domain) addr = arena_printf(a, "%s@%s", addr, r->cfg->qualify_domain);
  bool allowed = r->who.is_trusted || !*addr || (r->c->action != CMD_SUBMIT && r->c->action != CMD_EXPAND); /* a test harms nobody */
  if (!allowed && mo->untrusted_set_sender) {
    struct expand_ctx x = expand_ctx_new(a, r->cfg);
    allowed = match_address(&x, addr, mo->untrusted_set_sender, true, NULL) == OUTCOME_OK;
  }
  if (allowed) *ret = addr;
  return true;
}

bool run_test_sender(struct run *r, const char **ret) {
  const char *sender;
  if (!run_choose_sender(r, r->a, &sender)) return false;
  if (!sender && r->who.login) sender = arena_printf(r->a, "%s@%s", r->who.login, r->cfg->qualify_domain);
  *ret = sender;
  return true;
}
