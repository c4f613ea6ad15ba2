/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of a session without QUIT, and the delays of smtp_ratelimit_*.
 *
 * Floor: flows.  The NOTQUIT ACL runs at most once, for what it notes or counts; its verdict changes nothing.  Delays grow with each command of a
 * connection (MAIL) or message (RCPT) and are bounded by the option's own maximum.  Manual ch. 14, 44 "The SMTP NOTQUIT ACL". */
#include <time.h>

#include "os/debug.h"
#include "os/signals.h"
#include "smtp_in_priv.h"

/* The message of the ACL, NULL: none. */
static const char *run_notquit(struct smtp_session *s, const char *reason) {
  if (!s->opt->acl_smtp_notquit || s->notquit_done || s->c->is_batched) return NULL;
  s->notquit_done = true;
  s->x.notquit_reason = reason;
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_NOTQUIT, NULL, s->opt->acl_smtp_notquit, OUTCOME_OK);
  s->x.notquit_reason = NULL;
  if (r.outcome == OUTCOME_ERROR)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "ACL for not-QUIT returned ERROR: %s", r.log_message ? r.log_message : "");
  return r.user_message;
}

void smtp_notquit(struct smtp_session *s, const char *reason) { (void)run_notquit(s, reason); }

void smtp_notquit_reply(struct smtp_session *s, const char *reason, int code, const char *text) {
  const char *own = run_notquit(s, reason);
  struct str rest = str_c(own && *own ? own : text);
  do { /* a code in the message is text like any other */
    struct str line = str_cut(&rest, '\n');
    if (s->c->no_multiline) rest.n = 0;
    smtp_replyf(s, "%d%c%.*s", code, rest.n > 0 ? '-' : ' ', STR_FMT(line));
  } while (rest.n > 0);
}

/* ---- smtp_ratelimit_mail, smtp_ratelimit_rcpt ---- */

/* Seconds with a fraction, or any interval; -1: malformed. */
static double seconds_of(struct str s) {
  int64_t whole;
  double v = 0, scale = 1;
  s = str_trim(s);
  if (time_parse_interval(s, false, &whole)) return (double)whole;
  if (s.n && s.p[s.n - 1] == 's') s.n--;
  bool point = false, digits = false;
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] == '.' && !point) {
      point = true;
      continue;
    }
    if (!ch_isdigit(s.p[i]) || i > 12) return -1;
    digits = true;
    v = v * 10 + (s.p[i] - '0');
    if (point) scale *= 10;
  }
  return digits ? v / scale : -1;
}

bool smtp_parse_ratelimit(struct str text, struct smtp_ratelimit *ret) {
  struct smtp_ratelimit r;
  struct str threshold = str_trim(str_cut(&text, ',')), first = str_cut(&text, ','), factor = str_cut(&text, ',');
  if (!str_parse_i64(threshold, &r.threshold) || r.threshold < 0) return false;
  r.first_sec = seconds_of(first);
  r.factor = seconds_of(factor);
  r.max_sec = seconds_of(text);
  if (r.first_sec < 0 || r.factor < 1 || r.max_sec < 0) return false;
  *ret = r;
  return true;
}

double smtp_ratelimit_delay(const struct smtp_ratelimit *r, int64_t count) {
  if (count <= r->threshold) return 0;
  double d = r->first_sec;
  for (int64_t i = r->threshold + 1; i < count && d < r->max_sec; i++) d *= r->factor;
  return d < r->max_sec ? d : r->max_sec;
}

void smtp_nap(struct smtp_session *s, double sec) {
  enum { LOOK_EVERY_MS = 200 };
  int64_t ms = (int64_t)(sec * 1000);
  if (ms <= 0) return; /* no time would be no limit */
  deadline_ms end = deadline_in_ms(ms);
  while (!s->done && !deadline_passed(end) && !(s->is_socket && stream_peer_gone(s->c->io))) {
    pause_ms(MIN(deadline_poll_ms(end), LOOK_EVERY_MS));
  }
}

void smtp_slow_down(struct smtp_session *s, const char *name, const char *option, int64_t count) {
  struct smtp_ratelimit r;
  if (!option || s->c->is_batched || !s->opt->smtp_ratelimit_hosts) return;
  if (!smtp_parse_ratelimit(str_c(option), &r)) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "bad value of smtp_ratelimit_%s: \"%s\"", name, option);
    return;
  }
  double delay = smtp_ratelimit_delay(&r, count);
  if (delay <= 0 || !smtp_host_in(s, "smtp_ratelimit_hosts", s->opt->smtp_ratelimit_hosts)) return;
  DEBUG(D_RECEIVE) debug_printf("rate limit %s: delay %.3g sec\n", *name == 'm' ? "MAIL" : "RCPT", delay);
  if (s->c->host_checking) return;
  s->env.flush(&s->env);
  smtp_nap(s, delay);
}
