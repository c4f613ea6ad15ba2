/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The iplookup router: a server on another host gives the address a new form.  Floor: drivers.  Manual ch. 19.
 *
 * One query by UDP or TCP to each host in turn until one answers; what comes back is hostile, bounded, and only ever becomes an address of its
 * own.  No answer defers (or passes the address on with "optional"), it never refuses.  Memory: the context's arena. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "formats/rfc5322.h"
#include "host.h"
#include "os/net.h"
#include "os/sys.h"
#include "policy/match.h"
#include "router.h"
#include "routers/routers_priv.h"

struct iplookup_options {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "routers/iplookup_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct iplookup_options, n, t, d, f)
static const struct option iplookup_options[] = {
#include "routers/iplookup_options.def"
};
#undef OPT_ROW

enum { ANSWER_MAX = 256 };

static bool is_udp(const struct iplookup_options *ob) { return strcmp(ob->protocol, "udp") == 0; }

/* One host: the length of its answer, or -errno. */
static ssize_t ask(const struct iplookup_options *ob, const struct net_end *to, const char *query, char *buf) {
  deadline_ms end = deadline_in_sec(ob->timeout > 0 ? ob->timeout : 5);
  size_t unused;
  int fd = is_udp(ob) ? net_connect_udp(to) : net_connect(to, &(struct net_connect_opts){0}, end, &unused);
  if (fd < 0) return fd;
  size_t n = strlen(query);
  ssize_t got = send(fd, query, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : errno ? -errno : -EIO;
  struct pollfd p = {fd, POLLIN, 0};
  while (got == 0) {
    int r = poll(&p, 1, deadline_poll_ms(end));
    if (r < 0 && errno == EINTR) continue;
    if (r <= 0) got = r == 0 ? -ETIMEDOUT : -errno;
    else if ((got = recv(fd, buf, ANSWER_MAX, MSG_DONTWAIT)) < 0) got = errno == EAGAIN || errno == EINTR ? 0 : -errno;
    else if (got == 0) got = -ECONNRESET;
  }
  close(fd);
  return got;
}

static ssize_t ask_hosts(struct route_ctx *rc, const struct iplookup_options *ob, const char *query, char *buf) {
  ssize_t got = -EHOSTUNREACH;
  for (struct host *h = host_build_list(rc->x, ob->hosts, false), *next; h; h = next) {
    next = h->next;
    h->next = NULL;
    struct host_find_opts o = {0};
    if (!h->address && host_find_byname(rc->x, h, &o, NULL) == HOST_FIND_FAILED) continue;
    for (struct host *one = h; one; one = one->next) {
      struct net_end to = {.port = (int)ob->port};
      if (!one->address || !ip_parse(str_c(one->address), &to.ip)) continue;
      got = ask(ob, &to, query, buf);
      if (got > 0) return got;
    }
  }
  return got;
}

/* Is it the answer to the default query: "new-address old-address"? */
static bool answers_default(const char *text, const char *query) {
  const char *space = strpbrk(text, " \t"), *asked = strchr(query, ' ');
  return space && asked && str_eqic_c(str_trim(str_c(space)), asked + 1);
}

static enum route_result no_answer(struct route_ctx *rc, struct router *r, struct address *addr) {
  const struct iplookup_options *ob = r->ob;
  if (ob->optional) return ROUTE_PASS;
  addr->message = arena_printf(rc->x->a, "%s router: failed to get response", r->name);
  addr->basic_errno = ERRNO_UNKNOWNERROR;
  return ROUTE_DEFER;
}

/* The pattern cannot be compiled, or gave up: that says nothing about the address. */
static enum route_result bad_pattern(struct route_ctx *rc, struct router *r, struct address *addr) {
  addr->message = arena_printf(rc->x->a, "%s router: response_pattern: %s", r->name, rc->x->error ? rc->x->error : "match failed");
  addr->basic_errno = ERRNO_UNKNOWNERROR;
  return ROUTE_DEFER;
}

static enum route_result reroute(struct route_ctx *rc, struct router *r, struct address *addr, const char *text) {
  const struct iplookup_options *ob = r->ob;
  struct arena *a = rc->x->a;
  if (ob->reroute) {
    const char *given = text;
    text = expand_string(rc->x, ob->reroute);
    if (!text) {
      addr->message = arena_printf(a, "%s router: failed to expand %s: %s (answer \"%s\")", r->name, ob->reroute, rc->x->error ? rc->x->error : "", given);
      addr->basic_errno = ERRNO_UNKNOWNERROR;
      return ROUTE_DEFER;
    }
  } else {
    text = arena_strndup(a, text, strcspn(text, " \t\r\n"));
  }
  size_t domain = 0;
  const char *error, *address = rfc5322_extract_address(a, str_c(text), (struct addr_opts){0}, &domain, &error);
  if (!address || !domain) {
    addr->message = arena_printf(a, "%s router: unqualified or bad address \"%s\" yielded", r->name, text);
    addr->basic_errno = ERRNO_UNKNOWNERROR;
    return ROUTE_DEFER;
  }
  const char *errors = NULL;
  enum route_result res = route_get_errors_address(rc, r, addr, &errors);
  if (res == ROUTE_OK) res = route_get_munge_headers(rc, r, addr);
  if (res != ROUTE_OK) return res;
  struct address *child = address_child(a, addr, address);
  addr->prop.errors_address = errors;
  child->prop = addr->prop;
  child->start_router = r->redirect_router;
  child->next = *rc->children;
  *rc->children = child;
  return ROUTE_REROUTED;
}

static enum route_result iplookup_route(struct route_ctx *rc, struct router *r, struct address *addr) {
  const struct iplookup_options *ob = r->ob;
  struct expand_ctx *x = rc->x;
  const char *query = ob->query ? expand_option(x, "query", ob->query)
                                : arena_printf(x->a, "%s@%s %s@%s", addr->local_part, addr->domain, addr->local_part, addr->domain);
  if (!query) {
    addr->message = arena_printf(x->a, "%s router: failed to expand %s: %s", r->name, ob->query, x->error ? x->error : "");
    addr->basic_errno = ERRNO_UNKNOWNERROR;
    return ROUTE_DEFER;
  }
  char buf[ANSWER_MAX];
  ssize_t n = ask_hosts(rc, ob, query, buf);
  if (n <= 0) return no_answer(rc, r, addr);
  for (ssize_t i = 0; i < n; i++)
    if (!buf[i]) buf[i] = '?';
  while (n > 0 && ch_isspace(buf[n - 1])) n--;
  const char *text = arena_strndup_t(x->a, buf, (size_t)n, TAINTED);
  if (ob->response_pattern) {
    enum outcome oc = regex_match(x, ob->response_pattern, false, str_c(text), true);
    if (oc == OUTCOME_FAIL) return ROUTE_DECLINE;
    if (oc != OUTCOME_OK) return bad_pattern(rc, r, addr);
  } else {
    if (!ob->query && !answers_default(text, query)) return ROUTE_DECLINE;
    x->s.captures[0] = text;
    x->s.ncaptures = 1;
  }
  return reroute(rc, r, addr, text);
}

static const char *iplookup_init(struct arena *a, struct config *c, struct router *r) {
  const struct iplookup_options *ob = r->ob;
  (void)c;
  if (!ob->hosts) return arena_printf(a, "%s router:\n  a host name must be specified", r->name);
  if (ob->port <= 0 || ob->port > 65535) return arena_printf(a, "%s router:\n  a port must be specified", r->name);
  if (!is_udp(ob) && strcmp(ob->protocol, "tcp") != 0)
    return arena_printf(a, "%s router:\n  protocol not specified as udp or tcp", r->name);
  return NULL;
}

const struct router_driver iplookup_router = {.name = "iplookup",
                                              .options = iplookup_options,
                                              .option_count = ARRAY_SIZE(iplookup_options),
                                              .ob_size = sizeof(struct iplookup_options),
                                              .init = iplookup_init,
                                              .route = iplookup_route};
