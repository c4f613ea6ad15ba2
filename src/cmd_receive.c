/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Modes that take mail in: -bs, -bS, -bh, -atrn, and a message on standard input.  Floor: main.  Manual ch. 5, 48.
 *
 * The sessions are those of the daemon (smtp_in.h); here the caller, or the socket that inetd gave, becomes their peer. */
#include <stdio.h>
#include <stdlib.h>

#include "atrn_fetch.h"
#include "cmd_run.h"
#include "os/log.h"
#include "os/net.h"
#include "os/sys.h"
#include "receive.h"
#include "smtp_in.h"
#include "smtp_in_tls.h"

/* A connection says who is at its other end, and that counts as if the daemon had accepted it.  An ordinary user could bring one of his own making:
 * from a high port of this host, or from a network namespace of his, where he may give himself any address. */
static bool may_bring(const struct run *r, const struct net_end *local) {
  enum { FIRST_FREE_PORT = 1024 };
  return run_is_admin(r) || (local->port < FIRST_FREE_PORT && net_is_of_own_namespace(0));
}

/* -bs started by inetd: standard input is a TCP connection.  The refusal, or NULL. */
static const char *adopt_socket(const struct run *r, struct conn *k) {
  struct net_end peer, local;
  char text[IP_TEXT_SIZE];
  if (net_peer(0, &peer) < 0 || net_local(0, &local) < 0 || !peer.ip.family) return NULL;
  if (!may_bring(r, &local)) return "Permission denied (unprivileged user, unprivileged port)";
  peer.ip = ip_unmap(peer.ip);
  local.ip = ip_unmap(local.ip);
  k->is_local_caller = false;
  k->from.ident = NULL;
  k->from.host_address = arena_strdup(k->arena, ip_format(&peer.ip, text)); /* digits of our own making */
  k->from.host_port = peer.port;
  k->from.interface_address = arena_strdup(k->arena, ip_format(&local.ip, text));
  k->from.interface_port = local.port;
  origin_set_fullhost(k->arena, &k->from, log_selects(LS_INCOMING_PORT));
  return NULL;
}

static struct smtp_opts smtp_opts_of(const struct run *r, enum smtp_mode mode) {
  bool queue_only = r->c->queue_only || (r->cfg->o.queue_only && !(r->cfg->o.queue_only_override && (r->c->deliver_foreground || r->c->deliver_background)));
  return (struct smtp_opts){.mode = mode, .deliver_foreground = r->c->deliver_foreground, .queue_only = queue_only};
}

/* Who speaks SMTP on standard input: a user, or, when the caller is trusted, anybody.  Without -oMa there is no host that could have authenticated
 * itself, and -oMaa means nothing. */
static void name_smtp_user(const struct run *r, struct conn *k) {
  struct origin *o = &k->from;
  if (!k->is_local_caller || o->host_address) return;
  o->auth_name = NULL;
  if (k->is_trusted || !k->login) return;
  o->auth_id = k->login;
  o->auth_sender = arena_printf(k->arena, "%s@%s", k->login, r->cfg->qualify_domain);
}

int cmd_smtp(struct run *r) {
  sys_role(SYS_ROLE_RECEPTION);
  struct conn *k = run_conn(r, 0, 1);
  const char *refusal = r->c->action == CMD_SMTP ? adopt_socket(r, k) : NULL;
  if (refusal) return run_refuse(refusal);
  if (!run_apply_origin(r, k)) return run_refuse("bad address after -oMa or -oMi");
  name_smtp_user(r, k);
  struct smtp_opts o = smtp_opts_of(r, r->c->action == CMD_SMTP ? SMTP_MODE_SESSION : SMTP_MODE_BATCH);
  if (o.mode == SMTP_MODE_BATCH && !receive_space_available(r->cfg, 0)) return run_refuse("insufficient disk space");
  k->from.tls.on_connect = o.mode == SMTP_MODE_SESSION &&
                           (r->c->tls_on_connect || (!k->is_local_caller && smtp_tls_on_connect_port(r->cfg, k->from.interface_port)));
  int status = smtp_session_run(k, &o);
  arena_free(k->arena);
  return status;
}

int cmd_atrn(struct run *r) {
  sys_role(SYS_ROLE_RECEPTION);
  struct conn *k = run_conn(r, 0, 1);
  struct smtp_opts o = smtp_opts_of(r, SMTP_MODE_SESSION);
  return atrn_fetch(k, run_foreign(k->arena, r->c->atrn_host), run_foreign(k->arena, r->c->atrn_domains), &o);
}

int cmd_host_check(struct run *r) {
  struct conn *k = run_conn(r, 0, 1);
  startup_logging(r->cfg, STARTUP_LOG_SESSION);
  startup_give_up_root(r->cfg);
  k->from.ident = NULL;
  k->is_local_caller = false;
  k->host_checking = true;
  k->host_checking_callout = r->c->check_callout;
  if (!run_split_host_port(k->arena, r->c->check_ip, &k->from.host_address, &k->from.host_port))
    return run_refuse("bad address after -bh");
  struct ip ip;
  char text[IP_TEXT_SIZE];
  if (ip_parse(str_c(k->from.host_address), &ip)) k->from.host_address = arena_strdup(k->arena, ip_format(&ip, text));
  if (!run_apply_origin(r, k)) return run_refuse("bad address after -oMa or -oMi");
  origin_set_fullhost(k->arena, &k->from, log_selects(LS_INCOMING_PORT));
  struct smtp_opts o = {.mode = SMTP_MODE_CHECK, .queue_only = true};
  int status = smtp_session_run(k, &o);
  arena_free(k->arena);
  return status;
}

int cmd_submit(struct run *r) {
  const struct cmdline *c = r->c;
  if (!c->args.n && !c->extract_recipients) return run_print_help();
  sys_role(SYS_ROLE_RECEPTION);
  struct conn *k = run_conn(r, 0, 1);
  if (!run_apply_origin(r, k)) return run_refuse("bad address after -oMa or -oMi");
  struct vec rcpts = vec_new(k->arena);
  for (size_t i = 0; i < c->args.n; i++) vec_push(&rcpts, (void *)(uintptr_t)run_foreign(k->arena, c->args.v[i]));
  struct smtp_opts so = smtp_opts_of(r, SMTP_MODE_SESSION);
  struct submit_opts o = {
      .recipients = (const char *const *)rcpts.v,
      .recipient_count = rcpts.n,
      .extract_recipients = c->extract_recipients,
      .dot_ends = !c->ignore_dots,
      .full_name = c->full_name ? run_foreign(k->arena, c->full_name) : NULL,
      .error_handling = c->errors_to_stderr ? ERRORS_STDERR : ERRORS_SENDER,
      .error_exit = c->error_exit,
      .delivery_foreground = c->deliver_foreground,
      .queue_only = so.queue_only,
      .is_local_error = c->bounce_of != NULL,
      .bounce_of = c->bounce_of ? c->bounce_of : r->who.is_trusted ? c->om_message_ref : NULL,
      .is_bounce_machine = c->is_bounce,
      .fd = 0,
  };
  if (!run_choose_sender(r, k->arena, &o.sender)) return EXIT_FAILURE;
  int status = receive_submission(k, &o);
  arena_free(k->arena);
  return status;
}
