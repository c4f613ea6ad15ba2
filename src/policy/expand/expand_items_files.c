/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion items that reach outside: lookup, readfile, run, readsocket.  Floor: policy.
 *
 * Manual section 11.5.  File names, socket names and commands must not be tainted.  What comes back is hostile only as data: it is
 * copied, never expanded.  Commands run without a shell, with a deadline. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/ip.h"
#include "formats/codecs.h"
#include "os/child.h"
#include "os/net.h"
#include "os/signals.h"
#include "os/sys.h"
#include "policy/expand/expand_priv.h"
#include "policy/match.h"
#include "policy/search.h"

enum { RUN_TIMEOUT_SEC = 60, SOCKET_TIMEOUT_SEC = 5, MAX_INPUT_BYTES = 64 << 20 };

static void close_read(int fd) {
  if (sys_close(fd) < 0) errno = 0; /* nothing was written: nothing can be lost */
}

/* ---- lookup ---- */

static bool lookup_head(struct parse *ps, const char **ret_key, const char **ret_name) {
  const char *key = NULL;
  exp_skip_space(ps);
  if (*ps->s == '{') {
    if (!exp_brace(ps, &key)) return false;
    exp_skip_space(ps);
  }
  if (!ch_isalpha(*ps->s)) return exp_fail(ps->x, "missing lookup type");
  size_t n = 0;
  while (ps->s[n] && ps->s[n] != '{' && !ch_isspace(ps->s[n])) n++;
  *ret_key = key;
  *ret_name = arena_strndup(ps->x->a, ps->s, n);
  ps->s += n;
  return true;
}

/* What a partial lookup leaves in $1 and $2 for the replacement text (manual 11.5). */
static void set_partial(struct expand_ctx *x, const struct lookup_result *r) {
  if (!r->fixed) return;
  x->s.captures[0] = NULL;
  x->s.captures[1] = r->wild;
  x->s.captures[2] = r->fixed;
  x->s.ncaptures = 3;
}

static bool run_lookup(struct expand_ctx *x, const struct lookup_type *t, const char *file, const char *key, const char **ret) {
  struct lookup_result r = {0};
  *ret = NULL;
  x->error = NULL;
  enum outcome rc = lookup_run(x, t, file, key, &r);
  const char *why = r.error ? r.error : x->error ? x->error : "";
  switch (rc) {
  case OUTCOME_OK:
    *ret = r.data ? r.data : "";
    set_partial(x, &r);
    return true;
  case OUTCOME_FAIL: return true;
  case OUTCOME_DEFER:
    x->lookup_deferred = true;
    return exp_fail(x, "lookup of \"%s\" gave DEFER: %s", lookup_shown(x->a, t->driver, key), why);
  case OUTCOME_ERROR:
  case OUTCOME_FAIL_DROP:
  case OUTCOME_DISCARD: break;
  }
  return exp_fail(x, "%s", why);
}

bool exp_item_lookup(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  const char *key = NULL, *name = "", *source, *found = NULL;
  struct lookup_type t;
  struct exp_saved sv;
  if (x->forbid.lookup) return exp_fail(x, "lookup expansions are not permitted");
  if (!lookup_head(ps, &key, &name)) return false;
  const char *bad = lookup_parse_type(x->a, str_c(name), &t);
  if (bad) return exp_fail(x, "%s", bad);
  bool is_query = t.driver->flags & (LOOKUP_QUERY | LOOKUP_ABSFILEQUERY);
  if (is_query && key)
    return exp_fail(x, "a single key was given for lookup type \"%s\", which is not a single-key lookup type", name);
  if (!is_query && !key) return exp_fail(x, "missing {key} for single-key \"%s\" lookup", name);
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(x, "missing '{' for lookup file-or-query arg");
  if (!exp_brace(ps, &source)) return false;
  while (is_query && ch_isspace(*source)) source++;
  exp_save(x, &sv);
  if (!ps->skip && !run_lookup(x, &t, is_query ? NULL : source, is_query ? source : key, &found)) return false;
  if (found) x->s.value = found;
  bool ok = exp_yes_no(ps, out, found != NULL, "lookup");
  exp_restore(x, &sv);
  return ok;
}

/* ---- readfile ---- */

/* Data with its newlines replaced (eol NULL: kept). */
static void add_data(struct strbuf *out, const char *p, size_t n, const char *eol) {
  while (n) {
    const char *nl = eol ? memchr(p, '\n', n) : NULL;
    size_t len = nl ? (size_t)(nl - p) : n;
    strbuf_add(out, p, len);
    p += len;
    n -= len;
    if (n) {
      strbuf_adds(out, eol);
      p++;
      n--;
    }
  }
}

bool exp_item_readfile(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs) {
  char *data;
  size_t n;
  if (x->forbid.readfile) return exp_fail(x, "file insertions are not permitted");
  if (expand_taint_refused(x, args[0], "file read")) return false;
  int fd = sys_open_file(args[0]); /* a user's filter may have named it */
  if (fd < 0) return exp_fail(x, "failed to open %s: %s", args[0], sys_open_file_error(fd));
  int rc = sys_read_file(fd, x->a, MAX_INPUT_BYTES, &data, &n);
  close_read(fd);
  if (rc < 0) return exp_fail(x, "failed to read %s: %s", args[0], strerror(-rc));
  add_data(out, data, n, nargs > 1 ? args[1] : NULL);
  return true;
}

/* ---- reading from a descriptor until end of file ---- */

/* 0, -ETIMEDOUT or -errno. */
static int read_all(int fd, deadline_ms deadline, struct strbuf *b) {
  char buf[4096];
  for (;;) {
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    int ready = poll(&pfd, 1, deadline_poll_ms(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return -errno;
    if (ready == 0) return -ETIMEDOUT;
    ssize_t n = sys_read(fd, buf, sizeof buf);
    if (n == -EAGAIN) continue;
    if (n <= 0) return (int)n;
    if (b->n + (size_t)n > MAX_INPUT_BYTES) return -EFBIG;
    strbuf_add(b, buf, (size_t)n);
  }
}

/* ---- run ---- */

/* One word of a command line: runs of non-space, or quoted with " (backslash escapes) or '. */
static const char *command_word(struct arena *a, const char **pos) {
  const char *p = *pos;
  while (ch_isspace(*p)) p++;
  if (!*p) return NULL;
  if (*p == '"' || *p == '\'') {
    struct strbuf b = strbuf_new_t(a, is_tainted(p) ? TAINTED : UNTAINTED, 32);
    char quote = *p++;
    while (*p && *p != quote) {
      size_t used = 1;
      int c = *p == '\\' && quote == '"' ? escape_interpret(str_n(p, strnlen(p, 8)), &used) : *p;
      strbuf_addc(&b, (char)c);
      p += used;
    }
    *pos = *p ? p + 1 : p;
    return b.p;
  }
  size_t n = 0;
  while (p[n] && !ch_isspace(p[n])) n++;
  *pos = p + n;
  return arena_strndup(a, p, n);
}

/* Words of the command, each expanded on its own unless the whole was expanded before. */
static bool command_argv(struct expand_ctx *x, const char *command, bool preexpanded, struct vec *argv) {
  const char *word, *pos = command;
  while ((word = command_word(x->a, &pos))) {
    const char *arg = word;
    if (!preexpanded && !exp_nested(x, word, &arg))
      return exp_fail(x, "Expansion of \"%s\" from command \"%s\" in ${run} expansion failed: %s", word, command, x->error);
    if (preexpanded && is_tainted(arg)) return exp_fail(x, "Tainted '%s' (command for ${run} expansion) not permitted", arg);
    vec_push(argv, (void *)(uintptr_t)arg);
  }
  if (argv->n && expand_taint_refused(x, argv->v[0], "command for ${run} expansion")) return false;
  vec_push(argv, NULL);
  return true;
}

/* Run; *ret_status as $runrc, output in $value. */
static bool run_command(struct expand_ctx *x, const struct vec *argv, int *ret_status) {
  struct child_spec spec = {.argv = (const char *const *)argv->v, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = 077,
                            .new_session = true, .stdin_fd = -2, .stdout_fd = -1};
  struct child c;
  struct strbuf output = strbuf_new(x->a);
  x->s.value = "";
  *ret_status = 127; /* as a shell says it for a command that is not there */
  if (argv->n < 2 || child_run(&spec, &c) < 0) return true;
  deadline_ms deadline = deadline_in_sec(RUN_TIMEOUT_SEC);
  int rc = read_all(c.out_fd, deadline, &output), status = 0;
  close_read(c.out_fd);
  c.out_fd = -1;
  int waited = child_wait(&c, rc < 0 ? deadline_in_ms(1) : deadline, &status);
  if (rc == -ETIMEDOUT || waited == -ETIMEDOUT) return exp_fail(x, "command timed out");
  if (rc == -EFBIG) return exp_fail(x, "output of the command is longer than %d bytes", MAX_INPUT_BYTES);
  if (rc < 0) return exp_fail(x, "output of the command cannot be read: %s", strerror(-rc));
  if (waited < 0) return exp_fail(x, "wait() failed: %s", strerror(-waited));
  if (WIFSIGNALED(status)) return exp_fail(x, "command killed by signal %d", WTERMSIG(status));
  x->s.value = output.p;
  *ret_status = WEXITSTATUS(status);
  return true;
}

/* The text inside the braces as it is written, its syntax checked. */
static bool raw_command(struct parse *ps, const char **ret) {
  const char *start = ps->s + 1, *unused;
  bool was_skipping = ps->skip;
  ps->skip = true;
  bool ok = exp_brace(ps, &unused);
  ps->skip = was_skipping;
  if (!ok && !ps->s[strcspn(ps->s, "}")]) ps->x->error = "missing '}' closing command arg of run";
  if (ok) *ret = arena_strndup(ps->x->a, start, (size_t)(ps->s - 1 - start));
  return ok;
}

bool exp_item_run(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  const char *command;
  bool preexpand = false;
  if (x->forbid.run) return exp_fail(x, "running a command is not permitted");
  while (*ps->s == ',') {
    ps->s++;
    struct str option = exp_read_name(ps, 0);
    if (!str_eq_c(option, "preexpand")) return exp_fail(x, "bad option '%.*s' for run", STR_FMT(option));
    preexpand = true;
  }
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(x, "missing '{' for command arg of run");
  if (!(preexpand ? exp_brace(ps, &command) : raw_command(ps, &command))) return false;
  int status = 1;
  if (!ps->skip) {
    struct vec argv = vec_new(x->a);
    if (!command_argv(x, command, preexpand, &argv) || !run_command(x, &argv, &status)) return false;
    x->s.runrc = status;
  }
  return exp_yes_no(ps, out, status == 0, "run"); /* $value stays, as $runrc does */
}

/* ---- readsocket ---- */

struct socket_options {
  int64_t timeout_sec;
  bool shutdown, cache, tls;
  const char *sni; /* NULL none */
};

/* Answers kept by cache=yes for this process, newest first; bounded, on the list of allowed writable globals. */
enum { SOCKET_CACHE_MAX = 64, SOCKET_CACHE_ANSWER_MAX = 65536 };
struct cached_answer {
  struct cached_answer *next;
  const char *name, *request;
  struct str answer; /* p NULL: no longer valid */
};
static struct {
  struct arena *arena;
  struct cached_answer *newest;
  int count;
} socket_cache;

static const struct cached_answer *cache_find(const char *name, const char *request) {
  for (const struct cached_answer *c = socket_cache.newest; c; c = c->next)
    if (c->answer.p && strcmp(c->name, name) == 0 && strcmp(c->request, request) == 0) return c;
  return NULL;
}

void expand_forget_sockets(void) {
  arena_free(socket_cache.arena);
  socket_cache.arena = NULL;
  socket_cache.newest = NULL;
  socket_cache.count = 0;
}

static void cache_forget(const char *name) {
  for (struct cached_answer *c = socket_cache.newest; c; c = c->next)
    if (strcmp(c->name, name) == 0) c->answer.p = NULL;
}

static void cache_add(const char *name, const char *request, struct str answer) {
  if (answer.n > SOCKET_CACHE_ANSWER_MAX || strlen(request) > SOCKET_CACHE_ANSWER_MAX) return;
  if (socket_cache.count >= SOCKET_CACHE_MAX) expand_forget_sockets();
  if (!socket_cache.arena) socket_cache.arena = arena_new("readsocket cache");
  struct arena *a = socket_cache.arena;
  struct cached_answer *c = ARENA_NEW(a, struct cached_answer);
  *c = (struct cached_answer){socket_cache.newest, arena_strdup(a, name), arena_strdup(a, request),
                              str_n(arena_strndup(a, answer.p, answer.n), answer.n)};
  socket_cache.newest = c;
  socket_cache.count++;
}

static bool socket_options(struct expand_ctx *x, const char *list, struct socket_options *ret) {
  const char *item;
  int sep = 0;
  *ret = (struct socket_options){.timeout_sec = SOCKET_TIMEOUT_SEC, .shutdown = true};
  item = list_next(x->a, &list, &sep);
  if (item && *item && !time_parse_interval(str_c(item), false, &ret->timeout_sec))
    return exp_fail(x, "bad time value %s", item);
  while ((item = list_next(x->a, &list, &sep))) {
    if (strcmp(item, "shutdown=no") == 0)
      ret->shutdown = false;
    else if (strcmp(item, "shutdown=yes") == 0)
      ret->shutdown = true;
    else if (strcmp(item, "tls=yes") == 0)
      ret->tls = true;
    else if (strncmp(item, "sni=", 4) == 0)
      ret->sni = item + 4;
    else if (strcmp(item, "cache=yes") == 0)
      ret->cache = true;
    else if (strcmp(item, "cache=no") == 0)
      ret->cache = false;
    else if (strcmp(item, "tls=no") != 0)
      return exp_fail(x, "bad option \"%s\" for ${readsocket", item);
  }
  return true;
}

static int connect_addresses(const struct vec *ips, int port, deadline_ms deadline) {
  int rc = -EHOSTUNREACH;
  for (size_t i = 0; i < ips->n && rc < 0; i++) {
    struct net_end to = {.ip = *(const struct ip *)ips->v[i], .port = port};
    struct net_connect_opts o = {0};
    size_t sent;
    rc = net_connect(&to, &o, deadline, &sent);
  }
  return rc;
}

/* "host:port" with the host perhaps in brackets. */
static bool connect_inet(struct expand_ctx *x, const char *spec, deadline_ms deadline, int *ret_fd) {
  const char *colon = strrchr(spec, ':');
  if (!colon) return exp_fail(x, "missing port for readsocket %s", spec);
  int port = net_service_port(colon + 1);
  if (port <= 0 || port > 65535) return exp_fail(x, "unknown port \"%s\"", colon + 1);
  struct str host = str_n(spec, (size_t)(colon - spec));
  if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']') host = str_n(host.p + 1, host.n - 2);
  struct vec ips = vec_new(x->a);
  struct ip ip;
  if (ip_parse(host, &ip)) {
    vec_push(&ips, &ip);
  } else {
    const struct expand_hooks *h = exp_hooks();
    if (!h || !h->resolve || h->resolve(x, str_dup(x->a, host), &ips) != OUTCOME_OK || !ips.n)
      return exp_fail(x, "no IP address found for host %.*s", STR_FMT(host));
  }
  int fd = connect_addresses(&ips, port, deadline);
  if (fd < 0) return exp_fail(x, "failed to connect to any address for %.*s: %s", STR_FMT(host), strerror(-fd));
  *ret_fd = fd;
  return true;
}

static bool connect_socket(struct expand_ctx *x, const char *name, deadline_ms deadline, int *ret_fd) {
  if (expand_taint_refused(x, name, "socket")) return false;
  if (strncmp(name, "inet:", 5) == 0) return connect_inet(x, name + 5, deadline, ret_fd);
  int fd = net_connect_unix(name, deadline);
  if (fd < 0) return exp_fail(x, "failed to connect to socket %s: %s", name, strerror(-fd));
  *ret_fd = fd;
  return true;
}

static int send_all(int fd, const char *p, size_t n) {
  while (n) {
    ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return -errno;
    p += sent;
    n -= (size_t)sent;
  }
  return 0;
}

static bool exchange(struct expand_ctx *x, const char *const *args, const struct socket_options *o, struct strbuf *answer) {
  int fd = -1;
  if (!connect_socket(x, args[0], deadline_in_sec(o->timeout_sec), &fd)) return false;
  if (o->tls) return exp_socket_tls(x, fd, args[1], o->sni, deadline_in_sec(o->timeout_sec), MAX_INPUT_BYTES, answer);
  if (x->cfg->harness_mode) pause_ms(100); /* a server of the suite that goes away at once has gone */
  int rc = send_all(fd, args[1], strlen(args[1]));
  if (rc < 0) {
    close_read(fd);
    return exp_fail(x, "request write to socket failed: %s", strerror(-rc));
  }
  if (o->shutdown) (void)shutdown(fd, SHUT_WR);
  rc = read_all(fd, deadline_in_sec(o->timeout_sec), answer);
  close_read(fd);
  if (rc == -ECONNRESET) rc = 0; /* it went without reading all of the request: what it said counts */
  if (rc == -ETIMEDOUT) return exp_fail(x, "socket read timed out");
  return rc == 0 || exp_fail(x, "read from socket failed: %s", strerror(-rc));
}

/* Send the request, collect the answer.  A failure here is one the fail string is for. */
static bool socket_talk(struct expand_ctx *x, const char *const *args, int n, struct strbuf *answer) {
  struct socket_options o;
  if (!socket_options(x, n > 2 ? args[2] : "", &o)) return false;
  const struct cached_answer *c = o.cache ? cache_find(args[0], args[1]) : NULL;
  if (c) {
    strbuf_addstr(answer, c->answer);
    return true;
  }
  if (!o.cache) cache_forget(args[0]);
  if (!exchange(x, args, &o, answer)) return false;
  if (o.cache) cache_add(args[0], args[1], strbuf_str(answer));
  return true;
}

bool exp_item_readsocket(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  const char *args[4], *fallback = NULL;
  bool was_skipping = ps->skip;
  int n = 0;
  if (x->forbid.readsocket) return exp_fail(x, "socket insertions are not permitted");
  for (exp_skip_space(ps); *ps->s == '{' && n < 4; exp_skip_space(ps))
    if (!exp_brace(ps, &args[n++])) return false;
  if (n < 2) return exp_fail(x, "Not enough arguments for 'readsocket' (min is 2)");
  struct strbuf answer = strbuf_new(x->a);
  bool ok = ps->skip || socket_talk(x, args, n, &answer);
  if (*ps->s == '{') {
    ps->skip = was_skipping || ok; /* used, and evaluated, only after a failure */
    bool expanded = exp_brace(ps, &fallback);
    ps->skip = was_skipping;
    if (!expanded) return false;
  } else if (!ok) {
    return false;
  }
  exp_skip_space(ps);
  if (*ps->s != '}') return exp_fail(x, "missing '}' after 'readsocket'");
  ps->s++;
  if (!ok)
    strbuf_adds(out, fallback);
  else if (!ps->skip)
    add_data(out, answer.p, answer.n, n > 3 && *args[3] ? args[3] : NULL);
  return true;
}
