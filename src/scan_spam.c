/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The condition spam: SpamAssassin's spamd (spamc protocol) or rspamd, one of several servers.
 *
 * Floor: drivers.  A server that cannot be asked makes the condition try the next; without an answer it defers.  The report quotes the message:
 * hostile, bounded.  Manual 45.2. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/rand.h"
#include "formats/scanner_reply.h"
#include "os/log.h"
#include "os/signals.h"
#include "os/sys.h"
#include "policy/match.h"
#include "scan.h"

enum { MAX_SPAMD_SERVERS = 32, SPAMD_TIMEOUT_SEC = 120, MAX_ANSWER_BYTES = 1 << 20, SPAM_BAR_MAX = 50 };

struct spamd {
  struct scan_server at;
  int priority, weight;
  int64_t timeout_sec;
  bool is_rspamd, is_failed, is_usable;
};
struct spam_job {
  struct expand_ctx *x;
  const char *user;
  struct spamd servers[MAX_SPAMD_SERVERS];
  int count;
  struct scan_conn c;
};

static void complain(const char *text) { log_write(LS_ALWAYS, LOG_MAIN, "spam acl condition: %s", text); }
static void complain_panic(const char *text) { log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "spam acl condition: %s", text); }

/* ---- servers ---- */

/* "1.30.0-5.0.0": is it that time of day? */
static bool parse_time_of_day(struct str s, int *ret_sec) {
  int part[3] = {0};
  if (s.n == 0) return false;
  for (int i = 0; i < 3 && s.n > 0; i++)
    if (!str_parse_int(str_cut(&s, '.'), &part[i]) || part[i] < 0 || part[i] > 99) return false;
  *ret_sec = (part[0] * 60 + part[1]) * 60 + part[2];
  return s.n == 0;
}
/* Local time is what the log stamp shows: "... hh:mm:ss". */
static bool seconds_of_day(int *ret_sec) {
  char buf[48];
  struct str stamp = str_c(time_format(time_now(), TIME_LOG_BARE, (struct time_opts){.utc = false}, buf, sizeof buf));
  (void)str_cut(&stamp, ' ');
  int part[3];
  for (int i = 0; i < 3; i++)
    if (!str_parse_int(str_cut(&stamp, ':'), &part[i])) return false;
  *ret_sec = (part[0] * 60 + part[1]) * 60 + part[2];
  return true;
}
static bool is_now(struct str range, bool *ret_now) {
  struct str to = range, from = str_cut(&to, '-');
  int a, b;
  if (!parse_time_of_day(from, &a) || to.n == 0 || !parse_time_of_day(to, &b)) return false;
  int now;
  if (!seconds_of_day(&now)) return false;
  *ret_now = now >= a && now <= b;
  return true;
}

/* What is wrong with it, NULL nothing. */
static const char *parse_option(struct spamd *s, struct str name, struct str value) {
  int n;
  if (str_eq_c(name, "time")) return is_now(value, &s->is_usable) ? NULL : "time value";
  if (str_eq_c(name, "retry")) return time_parse_interval(value, false, &s->at.retry_sec) ? NULL : "retry value";
  if (str_eq_c(name, "tmo")) return time_parse_interval(value, false, &s->timeout_sec) ? NULL : "timeout value";
  if (str_eq_c(name, "pri") && str_parse_int(value, &n)) s->priority = n;
  else if (str_eq_c(name, "weight") && str_parse_int(value, &n) && n >= 0 && n <= 1000) s->weight = n;
  else if (str_eq_c(name, "variant") && str_eq_c(value, "rspamd")) s->is_rspamd = true;
  else return "parameter";
  return NULL;
}

/* An option with a mistake is told, and the server is used without it. */
static void take_option(void *ctx, const char *item) {
  struct spam_job *j = ctx;
  struct str value = str_c(item), name = str_cut(&value, '=');
  const char *what = parse_option(&j->servers[j->count], name, value);
  if (what) complain(arena_printf(j->x->a, "warning - invalid spamd %s: '%s'", what, strcmp(what, "parameter") == 0 ? item : value.p));
}

static bool parse_servers(struct spam_job *j, const char *list) {
  const char *spec;
  int sep = -':';
  while ((spec = list_next(j->x->a, &list, &sep))) {
    if (!*spec) continue;
    if (j->count == MAX_SPAMD_SERVERS) {
      complain_panic("too many spamd servers: only 32 are used");
      break;
    }
    struct spamd *s = &j->servers[j->count];
    *s = (struct spamd){.priority = 1, .weight = 1, .timeout_sec = SPAMD_TIMEOUT_SEC, .is_usable = true};
    if (!scan_parse_server(j->x->a, spec, &s->at, take_option, j)) complain(arena_printf(j->x->a, "warning - invalid spamd address: '%s'", spec));
    else if (s->is_usable) j->count++;
  }
  if (j->count == 0) complain_panic("no useable spamd server addresses in spamd_address configuration option.");
  return j->count > 0;
}

/* Highest priority first, among equals by weight. */
static struct spamd *choose_server(struct spam_job *j) {
  int best = INT32_MIN;
  unsigned weights = 0;
  for (int i = 0; i < j->count; i++)
    if (!j->servers[i].is_failed) best = MAX(best, j->servers[i].priority);
  for (int i = 0; i < j->count; i++)
    if (!j->servers[i].is_failed && j->servers[i].priority == best) weights += (unsigned)j->servers[i].weight;
  unsigned at = weights > 0 ? rand_below(weights) : 0;
  for (int i = 0; i < j->count; i++) {
    struct spamd *s = &j->servers[i];
    if (s->is_failed || s->priority != best) continue;
    if (weights == 0 || at < (unsigned)s->weight) return s;
    at -= (unsigned)s->weight;
  }
  return NULL;
}

static struct spamd *connect_any(struct spam_job *j) {
  for (struct spamd *s; (s = choose_server(j));) {
    const char *error;
    j->c.deadline = deadline_in_sec(s->timeout_sec);
    if (scan_connect_server(j->x, &s->at, &j->c, &error) >= 0) return s;
    complain(arena_printf(j->x->a, "spamd: %s", error));
    s->is_failed = true;
  }
  complain_panic("all spamd servers failed");
  return NULL;
}

/* ---- talking ---- */

static int send_head(struct spam_job *j, const struct spamd *s) {
  struct message *m = j->x->msg;
  struct strbuf b = strbuf_new(j->x->a);
  if (!s->is_rspamd) {
    strbuf_addf(&b, "REPORT SPAMC/1.2\r\nUser: %s\r\nContent-length: %lld\r\n\r\n", j->user, (long long)m->scan->eml_size);
    return scan_send(&j->c, b.p, b.n);
  }
  const struct origin *from = &j->x->conn->from;
  strbuf_addf(&b, "CHECK RSPAMC/1.3\r\nContent-length: %lld\r\nQueue-Id: %s\r\nFrom: <%s>\r\nRecipient-Number: %zu\r\n",
              (long long)m->scan->eml_size, m->id, m->sender ? m->sender : "", m->recipient_count);
  for (size_t i = 0; i < m->recipient_count; i++) strbuf_addf(&b, "Rcpt: <%s>\r\n", m->recipients[i].address);
  if (from->helo_name && *from->helo_name) strbuf_addf(&b, "Helo: %s\r\n", from->helo_name);
  if (from->host_name && *from->host_name) strbuf_addf(&b, "Hostname: %s\r\n", from->host_name);
  if (from->host_address && *from->host_address) strbuf_addf(&b, "IP: %s\r\n", from->host_address);
  const char *user = from->auth_id ? from->auth_id : !from->host_address ? from->ident : NULL;
  if (user && *user) strbuf_addf(&b, "User: %s\r\n", user);
  strbuf_adds(&b, "\r\n");
  return scan_send(&j->c, b.p, b.n);
}

static bool talk(struct spam_job *j, const struct spamd *s, const char **ret_answer) {
  int fd = sys_open(j->x->msg->scan->eml, O_RDONLY, 0), rc = fd < 0 ? fd : send_head(j, s);
  if (rc == 0) rc = scan_send_file(&j->c, fd);
  if (fd >= 0 && sys_close(fd) < 0 && rc == 0) rc = -EIO;
  if (rc < 0) {
    complain_panic(arena_printf(j->x->a, "spamd %s send failed: %s", j->x->callout_address, strerror(-rc)));
    return false;
  }
  (void)shutdown(j->c.fd, SHUT_WR);
  rc = scan_read_all(j->x, &j->c, MAX_ANSWER_BYTES, ret_answer);
  if (rc < 0) complain_panic(arena_printf(j->x->a, "error reading from spamd %s, socket: %s", j->x->callout_address, strerror(-rc)));
  return rc == 0;
}

/* ---- results ---- */

static const char *spam_bar(struct arena *a, int64_t score) {
  int64_t n = MIN((score < 0 ? -score : score) / 1000, (int64_t)SPAM_BAR_MAX);
  char bar[SPAM_BAR_MAX + 1];
  if (n == 0) return "/";
  memset(bar, score < 0 ? '-' : '+', (size_t)n);
  return arena_strndup(a, bar, (size_t)n);
}

/* The report as it stands in header lines: each further line begins with a space, none ends with one, no newline at its end. */
static const char *report_text(struct arena *a, struct str report) {
  struct strbuf b = strbuf_new_t(a, TAINTED, report.n + 64);
  for (struct str rest = report; rest.n > 0;) {
    struct str line = str_cut(&rest, '\n');
    while (line.n > 0 && line.p[line.n - 1] == '\r') line.n--;
    if (b.n > 0) strbuf_adds(&b, "\n ");
    strbuf_add_t(&b, line.p, line.n, TAINTED);
  }
  while (b.n > 0 && ch_isspace(b.p[b.n - 1])) strbuf_truncate(&b, b.n - 1);
  return b.p;
}

static const char *action_of(struct arena *a, const struct scanner_spam *r) {
  struct str action;
  if (!r->is_rspamd) return r->score >= r->threshold ? "reject" : "no action";
  for (struct str rest = r->report; rest.n > 0;) {
    struct str line = str_cut(&rest, '\n');
    if (!str_startsic(line, STR("Action:"))) continue;
    action = str_trim(str_n(line.p + 7, line.n - 7));
    return str_dup(a, action);
  }
  return "no action";
}

static enum outcome take_result(struct spam_job *j, const struct scanner_spam *r) {
  struct message *m = j->x->msg;
  int64_t tenths = r->score / 100, rounded = (r->score + (r->score < 0 ? -50 : 50)) / 100;
  int64_t shown = rounded < 0 ? -rounded : rounded;
  m->spam_score = arena_printf(m->arena, "%s%lld.%lld", rounded < 0 ? "-" : "", (long long)(shown / 10), (long long)(shown % 10));
  m->spam_score_int = arena_printf(m->arena, "%lld", (long long)tenths);
  m->spam_bar = spam_bar(m->arena, r->score);
  m->scan->spam_report = report_text(m->arena, r->report);
  m->scan->spam_action = action_of(m->arena, r);
  m->scan->spam_user = arena_strdup(m->arena, j->user);
  m->scan->spam_outcome = r->score >= r->threshold ? OUTCOME_OK : OUTCOME_FAIL;
  return m->scan->spam_outcome;
}

static enum outcome ask(struct spam_job *j, const char *addresses) {
  const char *answer;
  struct scanner_spam r;
  if (scan_spool(j->x) < 0 || !parse_servers(j, addresses)) return OUTCOME_DEFER;
  const struct spamd *s = connect_any(j);
  if (!s) return OUTCOME_DEFER;
  bool ok = talk(j, s, &answer);
  scan_close(&j->c);
  if (!ok) return OUTCOME_DEFER;
  if (scanner_spam_reply(str_c(answer), s->is_rspamd, &r)) return take_result(j, &r);
  complain_panic(arena_printf(j->x->a, "cannot parse spamd %s output", j->x->callout_address));
  return OUTCOME_DEFER;
}

/* ---- the condition ---- */

/* "user", "user:true", "user/defer_ok", "user:true/defer_ok". */
static const char *parse_args(struct expand_ctx *x, const char *arg, bool *ret_always, bool *ret_defer_ok) {
  struct str rest = str_c(arg), main_part = str_trim(str_cut(&rest, '/'));
  while (rest.n > 0)
    if (str_eqic(str_trim(str_cut(&rest, '/')), STR("defer_ok"))) *ret_defer_ok = true;
  struct str suffix = main_part, user = str_trim(str_cut(&suffix, ':'));
  *ret_always = str_eqic(str_trim(suffix), STR("true"));
  for (size_t i = 0; i < user.n; i++)
    if ((unsigned char)user.p[i] < ' ') user.n = i; /* it becomes a line of the request */
  return str_dup(x->a, user);
}

enum outcome scan_cond_spam(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log) {
  (void)where;
  (void)ret_log;
  struct scan_state *s = scan_state_of(x->msg);
  bool always = false, defer_ok = false;
  const char *user = parse_args(x, arg, &always, &defer_ok), *addresses = x->cfg->o.spamd_address;
  if (!*user || strcmp(user, "0") == 0 || strcmpic(user, "false") == 0) return OUTCOME_FAIL;
  bool may_keep = *addresses != '$';
  enum outcome o = s->spam_outcome;
  if (!may_keep || !s->spam_user || strcmp(s->spam_user, user) != 0) {
    struct spam_job *j = arena_alloc(x->a, sizeof *j);
    j->x = x;
    j->user = user;
    j->c.fd = -1;
    const char *list = may_keep ? addresses : expand_string(x, addresses);
    if (!list) complain_panic(arena_printf(x->a, "spamd_address starts with $, but expansion failed: %s", x->error ? x->error : ""));
    o = list ? ask(j, list) : OUTCOME_DEFER;
  }
  if (o == OUTCOME_DEFER) return defer_ok ? OUTCOME_FAIL : o;
  return always ? OUTCOME_OK : o;
}
