/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connecting through SOCKS5 proxies (socks_proxy).  Floor: drivers.  Manual ch. 59 "Outbound proxies"; RFC 1928, 1929.
 *
 * The option is a list of proxies; they are tried by priority, within one priority drawn by weight, until one has made the connection or says that
 * the host cannot be reached.  Each has its own timeout (tmo) for connection and dialogue, all together have connect_timeout.  What a proxy answers is
 * hostile; bytes behind its last answer already belong to the SMTP server. */
#include "transports/smtp_priv.h"

#include <errno.h>
#include <unistd.h>

#include "base/rand.h"
#include "formats/socks5.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"

enum { SOCKS_PORT = 1080, SOCKS_TIMEOUT_SEC = 5, SOCKS_MAX_PROXIES = 32 };

struct proxy {
  const char *address;
  int port, priority, weight;
  int64_t timeout_sec;
  enum socks5_auth auth;
  const char *name, *password;
  bool used;
};

/* ---- the option ------------------------------------------------------------------------------------------- */

static bool number(const char *text, int64_t least, int64_t most, int64_t *ret) {
  int64_t v;
  if (!str_parse_i64(str_c(text), &v) || v < least || v > most) return false;
  *ret = v;
  return true;
}

/* One "name=value". */
static bool proxy_option(struct arena *a, struct proxy *p, const char *item) {
  struct str rest = str_c(item), key = str_cut(&rest, '=');
  const char *value = arena_strndup(a, rest.p, rest.n);
  int64_t v = 0;
  bool good = false;
  if (str_eqic_c(key, "auth")) {
    p->auth = strcmpic(value, "name") == 0 ? SOCKS5_AUTH_NAME : SOCKS5_AUTH_NONE;
    return strcmpic(value, "name") == 0 || strcmpic(value, "none") == 0;
  }
  if (str_eqic_c(key, "name")) return p->name = value, true;
  if (str_eqic_c(key, "pass")) return p->password = value, true;
  if (str_eqic_c(key, "port") && (good = number(value, 1, 65535, &v))) p->port = (int)v;
  if (str_eqic_c(key, "tmo") && (good = number(value, 1, 3600, &v))) p->timeout_sec = v;
  if (str_eqic_c(key, "pri") && (good = number(value, 0, 1000000, &v))) p->priority = (int)v;
  if (str_eqic_c(key, "weight") && (good = number(value, 0, 1000000, &v))) p->weight = (int)v;
  return good;
}

static bool proxy_parse(struct arena *a, const char *spec, struct proxy *ret, const char **ret_error) {
  int sep = -' ';
  struct ip ip;
  const char *item = list_next(a, &spec, &sep);
  *ret = (struct proxy){.port = SOCKS_PORT, .priority = 1, .weight = 1, .timeout_sec = SOCKS_TIMEOUT_SEC, .name = "", .password = ""};
  if (!item || !ip_parse(str_c(item), &ip)) {
    *ret_error = arena_printf(a, "\"%s\" is not the IP address of a proxy", item ? item : "");
    return false;
  }
  ret->address = item;
  while ((item = list_next(a, &spec, &sep)))
    if (*item && !proxy_option(a, ret, item)) {
      /* the item may hold a password */
      *ret_error = arena_printf(a, "bad option \"%.*s\" of proxy %s", (int)strcspn(item, "="), item, ret->address);
      return false;
    }
  return true;
}

static size_t proxies_parse(struct arena *a, const char *list, struct proxy *ret, const char **ret_error) {
  int sep = -':';
  size_t n = 0;
  const char *spec;
  while (n < SOCKS_MAX_PROXIES && (spec = list_next(a, &list, &sep)))
    if (*spec && !proxy_parse(a, spec, &ret[n++], ret_error)) return 0;
  return n;
}

/* The highest priority that is left; among equals a draw by weight. */
static struct proxy *next_proxy(struct proxy *p, size_t n) {
  int best = -1;
  unsigned total = 0;
  for (size_t i = 0; i < n; i++)
    if (!p[i].used && p[i].priority > best) best = p[i].priority;
  for (size_t i = 0; i < n; i++)
    if (!p[i].used && p[i].priority == best) total += (unsigned)p[i].weight + 1;
  unsigned draw = total ? rand_below(total) : 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i].used || p[i].priority != best) continue;
    if (draw <= (unsigned)p[i].weight) {
      p[i].used = true;
      return &p[i];
    }
    draw -= (unsigned)p[i].weight + 1;
  }
  return NULL;
}

/* ---- the dialogue ----------------------------------------------------------------------------------------- */

typedef int (*answer_fn)(struct str in, unsigned *ret);

static bool ask(struct stream *io, struct strbuf *question, deadline_ms deadline, answer_fn get, unsigned *ret) {
  struct str have;
  stream_put(io, question->p, question->n);
  strbuf_clear(question);
  enum stream_status st = stream_fill(io, deadline, &have);
  int used = SOCKS5_MORE;
  while (st == STREAM_OK && (used = get(have, ret)) == SOCKS5_MORE) st = stream_fill_more(io, have.n, 1024, deadline, &have);
  if (st != STREAM_OK || used < 0) return false;
  stream_consume(io, (size_t)used);
  return true;
}

static bool authenticate(struct stream *io, const struct proxy *p, struct strbuf *b, deadline_ms deadline, const char **ret_why) {
  unsigned answer = 0xff;
  socks5_put_methods(b, p->auth);
  *ret_why = "no answer to the methods offered";
  if (!ask(io, b, deadline, socks5_get_method, &answer)) return false;
  *ret_why = "the proxy wants another authentication method";
  if (answer != (unsigned)p->auth) return false;
  if (p->auth == SOCKS5_AUTH_NONE) return true;
  *ret_why = "name or password is empty or too long";
  if (!socks5_put_login(b, str_c(p->name), str_c(p->password))) return false;
  *ret_why = "authentication failed";
  return ask(io, b, deadline, socks5_get_login, &answer) && answer == 0;
}

static bool connect_through(struct stream *io, const struct net_end *to, struct strbuf *b, deadline_ms deadline, struct socks5_bound *ret) {
  struct str have;
  int used = SOCKS5_MORE;
  socks5_put_connect(b, &to->ip, to->port);
  stream_put(io, b->p, b->n);
  enum stream_status st = stream_fill(io, deadline, &have);
  while (st == STREAM_OK && (used = socks5_get_connect(have, ret)) == SOCKS5_MORE) st = stream_fill_more(io, have.n, 1024, deadline, &have);
  if (st != STREAM_OK || used < 0) return false;
  stream_consume(io, (size_t)used);
  return true;
}

static void note_proxy(struct smtp_attempt *s, const struct proxy *p, const struct socks5_bound *bound) {
  char text[IP_TEXT_SIZE];
  s->proxy = (struct proxy_info){.local_address = p->address, .local_port = p->port, .external_port = bound->port,
                                 .external_address = bound->ip.family ? arena_strdup(s->a, ip_format(&bound->ip, text)) : NULL};
  s->d->x->proxy_out = &s->proxy;
}

/* 0: s->io speaks with the server.  1: this proxy is of no use.  -errno: it says the server is not to be had. */
static int try_proxy(struct smtp_attempt *s, const struct proxy *p, const struct net_end *to, const struct net_connect_opts *o, deadline_ms all) {
  struct net_end at = {.port = p->port};
  struct strbuf b = strbuf_new(s->a);
  struct socks5_bound bound = {0};
  const char *why = "no answer to the request to connect";
  deadline_ms deadline = MIN(all, deadline_in_sec(p->timeout_sec));
  IGNORE_RESULT(ip_parse(str_c(p->address), &at.ip));
  int fd = net_connect(&at, o, deadline, NULL);
  if (fd < 0) {
    log_write(LS_ALWAYS, LOG_MAIN, "SOCKS proxy [%s]:%d: %s", p->address, p->port, strerror(-fd));
    return 1;
  }
  struct stream *io = stream_new(s->a, fd, fd, true);
  if (authenticate(io, p, &b, deadline, &why)) {
    why = "no answer to the request to connect";
    if (connect_through(io, to, &b, deadline, &bound)) {
      if (bound.reply == 0) {
        s->io = io;
        note_proxy(s, p, &bound);
        return 0;
      }
      why = socks5_reply_text(bound.reply);
    }
  }
  /* what the proxy says of the server stands in the line about the server */
  if (!bound.reply) log_write(LS_ALWAYS, LOG_MAIN, "SOCKS proxy [%s]:%d: %s", p->address, p->port, why);
  stream_close(io);
  return bound.reply ? -socks5_reply_errno(bound.reply) : 1;
}

int smtp_socks_connect(struct smtp_attempt *s, const struct net_end *to, const struct net_connect_opts *o, bool *ret_wanted, const char **ret_error) {
  struct expand_ctx *x = s->d->x;
  struct proxy proxies[SOCKS_MAX_PROXIES];
  *ret_wanted = false;
  x->proxy_out = NULL;
  if (!s->ob->socks_proxy) return 0;
  const char *list = expand_option(x, "socks_proxy", s->ob->socks_proxy);
  if (!list && x->forced_fail) return 0;
  if (list && !*list) return 0;
  *ret_wanted = true;
  *ret_error = list ? "socks_proxy names no proxy" : arena_printf(s->a, "failed to expand socks_proxy: %s", x->error ? x->error : "");
  size_t n = list ? proxies_parse(s->a, list, proxies, ret_error) : 0;
  deadline_ms all = deadline_in_sec(s->ob->connect_timeout);
  if (n) *ret_error = "no SOCKS proxy answered";
  struct proxy *p;
  while (n && !deadline_passed(all) && (p = next_proxy(proxies, n))) {
    int r = try_proxy(s, p, to, o, all);
    if (r <= 0) return r;
  }
  return ERRNO_PROXYFAIL;
}
