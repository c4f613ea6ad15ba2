/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the daemon listens: parsing, binding, taking over, describing.  Floor: flows.  Manual ch. 13.
 *
 * A daemon that re-executes itself hands its sockets over in EXIM_LISTEN="pid:fd,fd,...".  The variable is believed only by the very process that wrote
 * it (same pid) and never when the binary gained privileges by being started.  The inherited list is the one file-static state here. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon_priv.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/signals.h"
#include "os/sys.h"
#include "policy/match.h"

static struct {
  struct listeners l;
} inherited;

void daemon_take_inherited(void) {
  const char *text = getenv("EXIM_LISTEN");
  uint64_t pid, fd;
  if (!text) return;
  struct str rest = str_c(text);
  struct str pid_text = str_cut(&rest, ':');
  bool ours = getuid() == geteuid() && str_parse_u64(pid_text, &pid) && pid == (uint64_t)getpid();
  while (ours && rest.n && inherited.l.n < DAEMON_MAX_LISTEN) {
    struct listener *l = &inherited.l.v[inherited.l.n];
    if (!str_parse_u64(str_cut(&rest, ','), &fd) || fd > 65535) continue;
    if (net_local((int)fd, &l->end) < 0 || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) continue;
    l->fd = (int)fd;
    inherited.l.n++;
  }
  unsetenv("EXIM_LISTEN");
}

bool daemon_has_inherited(void) {
  return inherited.l.n > 0;
}

const char *daemon_listen_adopt(struct listeners *l) {
  int listens = 0;
  socklen_t n = sizeof listens;
  *l = inherited.l;
  if (l->n) return NULL;
  if (getsockopt(0, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) < 0 || !listens || net_local(0, &l->v[0].end) < 0)
    return "standard input is not a listening socket";
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  l->v[0].fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
  if (null < 0 || l->v[0].fd < 0 || dup2(null, 0) < 0) return "no descriptors left";
  close(null);
  l->n = 1;
  return NULL;
}

/* ---- The plan ---- */

static bool port_in_list(struct arena *a, const char *list, int port) {
  const char *pos = list;
  int sep = 0;
  if (!list) return false;
  for (const char *item; (item = list_next(a, &pos, &sep));)
    if (net_service_port(item) == port) return true;
  return false;
}

static bool has_address(const char *item) {
  return strchr(item, '.') || strchr(item, ':');
}

/* "ip", "ip.port" or "[ip]:port"; port 0 when not given. */
static bool parse_interface(struct arena *a, const char *item, struct net_end *ret) {
  struct str s = str_c(item), port = STR_NULL;
  int n = 0;
  if (s.n && s.p[0] == '[') {
    size_t end = str_index(s, ']');
    if (end == s.n) return false;
    port = str_n(s.p + end + 1, s.n - end - 1);
    s = str_n(s.p + 1, end - 1);
    if (port.n && (port.p[0] == ':' || port.p[0] == '.')) port = str_n(port.p + 1, port.n - 1);
    else if (port.n) return false;
  } else if (!ip_text_kind(item, NULL)) {
    const char *dot = strrchr(item, '.');
    if (!dot) return false;
    s = str_n(item, (size_t)(dot - item));
    port = str_c(dot + 1);
  }
  (void)a;
  if (!ip_parse(s, &ret->ip)) return false;
  if (port.n && (!str_parse_int(port, &n) || n < 0 || n > 65535)) return false;
  ret->port = n;
  return true;
}

static bool plan_add(struct listeners *l, struct net_end end, bool tls) {
  for (int i = 0; i < l->n; i++)
    if (l->v[i].end.port == end.port && ip_equal(&l->v[i].end.ip, &end.ip)) return true;
  if (l->n == DAEMON_MAX_LISTEN) return false;
  l->v[l->n++] = (struct listener){.end = end, .fd = -1, .tls_on_connect = tls};
  return true;
}

/* -oX: items without dot or colon are ports, the others interfaces. */
static void split_override(struct arena *a, const char *text, const char **ret_interfaces, const char **ret_ports) {
  struct strbuf addrs = strbuf_new(a), ports = strbuf_new(a);
  const char *pos = text;
  int sep = 0;
  for (const char *item; (item = list_next(a, &pos, &sep));) {
    struct strbuf *b = has_address(item) ? &addrs : &ports;
    strbuf_adds(b, b->n ? " ; " : "<; ");
    strbuf_adds(b, item);
  }
  if (addrs.n) *ret_interfaces = addrs.p;
  if (ports.n) *ret_ports = ports.p;
}

const char *daemon_listen_plan(struct arena *a, const struct config *cfg, const struct daemon_opts *o, struct listeners *ret) {
  const char *interfaces = cfg->o.local_interfaces, *ports = cfg->o.daemon_smtp_ports;
  const char *from = o->listen_override ? "-oX data" : "local_interfaces";
  if (o->listen_override) split_override(a, o->listen_override, &interfaces, &ports);
  int port_numbers[64], nports = 0, sep = 0;
  const char *pos = ports ? ports : "smtp";
  for (const char *item; (item = list_next(a, &pos, &sep)) && nports < 64;) {
    int port = net_service_port(item);
    if (port < 0) return arena_printf(a, "TCP port \"%s\" not found", item);
    port_numbers[nports++] = port;
  }
  ret->n = 0;
  sep = 0;
  pos = interfaces ? interfaces : "<; ::0 ; 0.0.0.0";
  for (const char *item; (item = list_next(a, &pos, &sep));) {
    struct net_end end;
    if (!parse_interface(a, item, &end)) return arena_printf(a, "Malformed IP address \"%s\" in %s", item, from);
    if (end.ip.family == 6 && cfg->o.disable_ipv6) continue;
    bool fits = true;
    for (int i = 0; i < (end.port ? 1 : nports); i++) {
      struct net_end e = end;
      if (!end.port) e.port = port_numbers[i];
      fits = plan_add(ret, e, o->tls_on_connect || port_in_list(a, cfg->o.tls_on_connect_ports, e.port)) && fits;
    }
    if (!fits) return "too many addresses to listen on";
  }
  return ret->n ? NULL : "there is nothing to listen on: check local_interfaces and daemon_smtp_ports";
}

/* ---- Binding ---- */

static bool take_over(struct listener *l) {
  for (int i = 0; i < inherited.l.n; i++) {
    struct listener *h = &inherited.l.v[i];
    if (h->fd < 0 || h->end.port != l->end.port || !ip_equal(&h->end.ip, &l->end.ip)) continue;
    l->fd = h->fd;
    h->fd = -1;
    return true;
  }
  return false;
}

struct bind_job {
  struct listener *l;
  int backlog;
  int result;
};

static int bind_one(void *ctx) {
  struct bind_job *j = ctx;
  j->result = net_listen(&j->l->end.ip, j->l->end.port, j->backlog, true);
  return 0;
}

static bool is_any(const struct ip *ip) {
  static const uint8_t zero[16];
  return memcmp(ip->b, zero, ip->family == 6 ? 16 : 4) == 0;
}

static bool has_any_v6_twin(const struct listeners *l, const struct listener *v4) {
  for (int i = 0; i < l->n; i++)
    if (l->v[i].fd >= 0 && l->v[i].end.ip.family == 6 && is_any(&l->v[i].end.ip) && l->v[i].end.port == v4->end.port) return true;
  return false;
}

/* A host without IPv6 serves ::0 by 0.0.0.0 alone. */
static bool may_skip(const struct listeners *l, const struct listener *x, int err) {
  bool any = is_any(&x->end.ip);
  if (any && x->end.ip.family == 6) return err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL || err == -EPROTONOSUPPORT;
  return any && err == -EADDRINUSE && has_any_v6_twin(l, x);
}

int daemon_listen_bind(struct arena *a, const struct config *cfg, struct listeners *l, const char **ret_what) {
  char text[IP_TEXT_SIZE];
  int retries = (int)cfg->o.daemon_startup_retries;
  for (int i = 0; i < l->n; i++) {
    struct listener *x = &l->v[i];
    if (x->fd >= 0 || take_over(x)) continue;
    struct bind_job j = {.l = x, .backlog = (int)cfg->o.smtp_connect_backlog};
    priv_with_root(bind_one, &j);
    if (j.result < 0 && may_skip(l, x, j.result)) {
      memmove(x, x + 1, (size_t)(l->n - i - 1) * sizeof(*x));
      l->n--;
      i--;
      continue;
    }
    if (j.result == -EADDRINUSE && retries-- > 0) {
      log_write(LS_ALWAYS, LOG_MAIN, "socket bind() to port %d for address %s failed: %s: waiting %ds before trying again (%d more %s)",
                x->end.port, ip_format(&x->end.ip, text), strerror(-j.result), (int)cfg->o.daemon_startup_sleep, retries + 1,
                retries + 1 == 1 ? "try" : "tries");
      pause_ms((int)cfg->o.daemon_startup_sleep * 1000);
      i--;
      continue;
    }
    if (j.result < 0) {
      *ret_what = arena_printf(a, "socket bind() to port %d for address %s failed: %s: daemon abandoned", x->end.port,
                               ip_format(&x->end.ip, text), strerror(-j.result));
      return j.result;
    }
    x->fd = j.result;
  }
  daemon_listen_close(&inherited.l);
  return 0;
}

void daemon_listen_close(struct listeners *l) {
  for (int i = 0; i < l->n; i++)
    if (l->v[i].fd >= 0) {
      close(l->v[i].fd);
      l->v[i].fd = -1;
    }
}

void daemon_listen_export(const struct listeners *l) {
  char text[DAEMON_MAX_LISTEN * 6 + 32];
  int n = snprintf(text, sizeof(text), "%d:", (int)getpid());
  for (int i = 0; i < l->n; i++) {
    if (l->v[i].fd < 0 || fcntl(l->v[i].fd, F_SETFD, 0) < 0) continue;
    n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%d", i ? "," : "", l->v[i].fd);
  }
  setenv("EXIM_LISTEN", text, 1);
}

/* ---- Describing ---- */

static const struct listener *twin(const struct listeners *l, const struct listener *x) {
  for (int i = 0; i < l->n; i++) {
    const struct listener *y = &l->v[i];
    if (y != x && y->end.port == x->end.port && is_any(&y->end.ip) && y->end.ip.family != x->end.ip.family) return y;
  }
  return NULL;
}

static bool same_host(const struct listener *x, const struct listener *y) {
  return !is_any(&y->end.ip) && ip_equal(&x->end.ip, &y->end.ip) && x->tls_on_connect == y->tls_on_connect;
}

static void describe(struct strbuf *b, const struct listeners *l, int i, int run) {
  const struct listener *x = &l->v[i];
  char text[IP_TEXT_SIZE];
  if (is_any(&x->end.ip)) {
    const char *family = twin(l, x) ? "IPv6 and IPv4" : x->end.ip.family == 6 ? "IPv6" : "IPv4";
    strbuf_addf(b, " port %d (%s)", x->end.port, family);
    return;
  }
  strbuf_addf(b, " [%s]:%s%d", ip_format(&x->end.ip, text), run > 1 ? "{" : "", x->end.port);
  for (int k = 1; k < run; k++) strbuf_addf(b, ",%d", l->v[i + k].end.port);
  if (run > 1) strbuf_addc(b, '}');
}

static void describe_all(struct strbuf *b, const struct listeners *l, bool tls) {
  for (int i = 0; i < l->n;) {
    const struct listener *x = &l->v[i];
    int run = 1;
    while (!is_any(&x->end.ip) && i + run < l->n && same_host(x, &l->v[i + run])) run++;
    const struct listener *other = is_any(&x->end.ip) ? twin(l, x) : NULL;
    if (x->tls_on_connect == tls && !(other && other < x)) describe(b, l, i, run);
    i += run;
  }
}

const char *daemon_listen_text(struct arena *a, const struct listeners *l) {
  struct strbuf plain = strbuf_new(a), tls = strbuf_new(a);
  describe_all(&plain, l, false);
  describe_all(&tls, l, true);
  return arena_printf(a, "%s%s%s%s%s", plain.n ? "SMTP on" : "", plain.p, plain.n && tls.n ? " and for " : "", tls.n ? "SMTPS on" : "", tls.p);
}
