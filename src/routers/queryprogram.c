/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queryprogram router: an external command says where an address goes.  Floor: drivers.  Manual ch. 21.
 *
 * The command is split into words before they are expanded and runs as command_user (as the current user when this process has no root, as in
 * verification).  One line of at most 1023 characters of its output counts; the text is foreign and stays tainted.  A command that fails, says
 * nothing or does not end leaves the address for later: no answer is never a refusal.  Memory: the context's arena. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"
#include "os/child.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/sys.h"
#include "policy/match.h"
#include "router.h"
#include "routers/redirect_list.h"
#include "routers/routers_priv.h"
#include "transport.h"
#include "transport_command.h"

struct queryprogram_options {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "routers/queryprogram_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct queryprogram_options, n, t, d, f)
static const struct option queryprogram_options[] = {
#include "routers/queryprogram_options.def"
};
#undef OPT_ROW

enum { ANSWER_MAX = 1023, EXIT_NOT_RUN = 127 /* as shells say it */ };

struct query {
  struct route_ctx *rc;
  struct router *r;
  const struct queryprogram_options *ob;
  struct address *addr;
  struct arena *a;
  uid_t uid;
  gid_t gid;
  size_t n;
  char answer[ANSWER_MAX + 1];
};

static enum route_result defer(struct query *q, const char *fmt, ...) PRINTF(2, 3);
static enum route_result defer(struct query *q, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  q->addr->message = arena_printf(q->a, "%s router: %s", q->r->name, arena_vprintf(q->a, fmt, ap));
  va_end(ap);
  q->addr->basic_errno = ERRNO_UNKNOWNERROR;
  return ROUTE_DEFER;
}

/* The answer makes no sense: the administrator is told. */
static enum route_result bad_answer(struct query *q, const char *fmt, ...) PRINTF(2, 3);
static enum route_result bad_answer(struct query *q, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  q->addr->message = arena_vprintf(q->a, fmt, ap);
  va_end(ap);
  q->addr->basic_errno = ERRNO_UNKNOWNERROR;
  log_write(LS_ALWAYS, LOG_PANIC, "%s router: %s", q->r->name, q->addr->message);
  return ROUTE_DEFER;
}

/* ---- running the command ------------------------------------------------------------------------------------ */

static const char *id_text(struct query *q, const struct opt_id *o) { return o->expand ? expand_string(q->rc->x, o->expand) : o->text; }

static enum route_result find_ids(struct query *q) {
  struct passwd_entry pw;
  q->uid = (uid_t)-1;
  q->gid = (gid_t)-1;
  if (!priv_can_raise()) return ROUTE_OK;
  const char *user = id_text(q, &q->ob->command_user);
  if (!user || !route_find_user(q->a, user, &pw)) return defer(q, "failed to find user \"%s\" for the command", user ? user : "");
  q->uid = pw.uid;
  q->gid = pw.gid;
  if (q->ob->command_group.is_set) {
    const char *group = id_text(q, &q->ob->command_group);
    if (!group || !route_find_group(group, &q->gid)) return defer(q, "failed to find group \"%s\" for the command", group ? group : "");
  }
  return q->gid == (gid_t)-1 ? defer(q, "command_user is a number and command_group is not set") : ROUTE_OK;
}

/* Read until the command closes its output; what does not fit is thrown away.  False: it took too long. */
static bool read_answer(struct query *q, const struct child *c, deadline_ms deadline) {
  for (;;) {
    struct pollfd p = {c->out_fd, POLLIN, 0};
    char buf[1024];
    int n = poll(&p, 1, deadline == DEADLINE_NEVER ? -1 : deadline_poll_ms(deadline));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    ssize_t got = sys_read(c->out_fd, buf, sizeof buf);
    if (got <= 0) return true;
    size_t part = MIN((size_t)got, (size_t)ANSWER_MAX - q->n);
    memcpy(q->answer + q->n, buf, part);
    q->n += part;
  }
}

static enum route_result run_command(struct query *q, struct vec *argv) {
  struct child_spec spec = {.argv = (const char *const *)argv->v, .uid = q->uid, .gid = q->gid, .cwd = q->ob->current_directory, .umask = 077,
                            .new_session = true, .stdin_fd = -2, .stdout_fd = -1};
  deadline_ms deadline = q->ob->timeout > 0 ? deadline_in_sec(q->ob->timeout) : DEADLINE_NEVER;
  struct child c;
  int status = 0;
  int r = child_run(&spec, &c);
  if (r == -EAGAIN || r == -ENOMEM || r == -EMFILE || r == -ENFILE) return defer(q, "failed to run the command: %s", strerror(-r));
  if (r < 0) {
    DEBUG(D_ROUTE) debug_printf("%s: %s\n", (const char *)argv->v[0], strerror(-r));
    return defer(q, "command returned non-zero code %d", EXIT_NOT_RUN);
  }
  bool in_time = read_answer(q, &c, deadline);
  close(c.out_fd);
  if (!in_time) child_kill(&c);
  r = child_wait(&c, in_time ? deadline : deadline_in_sec(5), &status);
  if (!in_time || r == -ETIMEDOUT) {
    q->addr->special_action = SPECIAL_FREEZE;
    return defer(q, "command timed out");
  }
  if (r < 0) return defer(q, "wait() failed: %s", strerror(-r));
  if (WIFSIGNALED(status)) {
    q->addr->special_action = SPECIAL_FREEZE;
    return defer(q, "command killed by signal %d", WTERMSIG(status));
  }
  if (WEXITSTATUS(status) != 0) return defer(q, "command returned non-zero code %d", WEXITSTATUS(status));
  return ROUTE_OK;
}

/* ---- what it said ------------------------------------------------------------------------------------------- */

/* The value of "key=" in the line, quoted or a word; NULL when it is not there. */
static const char *field(struct query *q, struct str line, const char *key) {
  size_t k = strlen(key);
  while ((line = str_ltrim(line)).n) {
    bool is_it = line.n > k && str_startsic(line, str_n(key, k)) && line.p[k] == '=';
    size_t eq = 0;
    while (eq < line.n && line.p[eq] != '=' && !ch_isspace(line.p[eq])) eq++;
    if (eq < line.n && line.p[eq] == '=') eq++;
    line = str_n(line.p + eq, line.n - eq);
    if (line.n && ch_isspace(*line.p)) continue;
    const char *value = transport_next_word(q->a, &line);
    if (is_it) return arena_strdup_t(q->a, value ? value : "", TAINTED);
  }
  return NULL;
}

static enum route_result find_hosts(struct query *q, const char *hosts, const char *lookup) {
  struct address *addr = q->addr;
  struct host_find_opts ho = {.how = HOST_FIND_BY_A | HOST_FIND_BY_AAAA, .ignore_target_hosts = q->r->o.ignore_target_hosts,
                              .dnssec_request_domains = q->r->o.dnssec_request_domains,
                              .dnssec_require_domains = q->r->o.dnssec_require_domains, .for_router = true};
  bool byname = true;
  if (lookup && strcmpic(lookup, "byname") == 0) ho.how = 0;
  else if (lookup && strcmpic(lookup, "bydns") == 0) byname = false;
  else if (lookup) return bad_answer(q, "bad lookup type \"%s\" yielded by command", lookup);
  addr->host_list = host_build_list(q->rc->x, hosts, false);
  if (!addr->host_list) return bad_answer(q, "no hosts in \"%s\"", hosts);
  enum route_result res = route_lookup_hosts(q->rc, q->r, addr, addr->host_list, byname, "defer", &ho);
  if (res != ROUTE_OK || addr->host_list) return res;
  /* Every address of the hosts is one to be ignored. */
  addr->message = arena_printf(q->a, "lookup of host \"%s\" failed in %s router", hosts, q->r->name);
  addr->basic_errno = ERRNO_UNKNOWNHOST;
  return ROUTE_DEFER;
}

static enum route_result accept_address(struct query *q, struct str rest) {
  struct address *addr = q->addr;
  const char *transport = field(q, rest, "transport"), *hosts = field(q, rest, "hosts"), *data = field(q, rest, "data");
  if (data) addr->prop.address_data = data;
  if (transport) {
    addr->transport = config_transport(q->rc->x->cfg, transport);
    if (!addr->transport) return bad_answer(q, "unknown transport name %s yielded by command", transport);
  } else if (!q->r->o.transport) {
    addr->message = arena_printf(q->a, "transport unset in %s router", q->r->name);
    addr->basic_errno = ERRNO_BADTRANSPORT;
    return ROUTE_DEFER;
  } else {
    enum route_result res = route_get_transport(q->rc, q->r, addr, true);
    if (res != ROUTE_OK) return res;
  }
  bool is_remote = addr->transport && !addr->transport->driver->is_local;
  enum route_result res = is_remote && hosts ? find_hosts(q, hosts, field(q, rest, "lookup")) : ROUTE_OK;
  if (res == ROUTE_OK) res = route_accept_common(q->rc, q->r, addr);
  if (res == ROUTE_OK) route_queue_add(q->rc, q->r, addr);
  return res;
}

/* An item that is no address: the special ones that end the matter, else an error. */
static enum route_result act_on_item(struct query *q, const struct redirect_item *it) {
  struct address *addr = q->addr;
  const char *why = it->text;
  if (it->kind == REDIRECT_FAIL || it->kind == REDIRECT_DEFER) {
    addr->message = addr->user_message = it->text;
    addr->pass_message = true;
    return it->kind == REDIRECT_FAIL ? ROUTE_FAIL : ROUTE_DEFER;
  }
  if (it->kind == REDIRECT_BLACKHOLE) why = "\":blackhole:\" is not permitted";
  else if (it->kind != REDIRECT_BAD) why = arena_printf(q->a, "only addresses are permitted, not \"%s\"", it->text);
  addr->message = arena_printf(q->a, "error in redirect data: %s", why);
  addr->basic_errno = ERRNO_BADREDIRECT;
  return ROUTE_DEFER;
}

static enum route_result redirect_address(struct query *q, struct str rest) {
  const struct config *cfg = q->rc->x->cfg;
  struct address *list = NULL, **tail = &list;
  const char *text = arena_strndup_t(q->a, rest.p, rest.n, TAINTED), *errors = NULL;
  enum route_result res = route_get_errors_address(q->rc, q->r, q->addr, &errors);
  if (res == ROUTE_OK) res = route_get_munge_headers(q->rc, q->r, q->addr);
  if (res != ROUTE_OK) return res;
  q->addr->prop.errors_address = errors;
  struct redirect_item *it = redirect_list_parse(q->a, str_c(text), cfg->o.allow_domain_literals, cfg->o.allow_utf8_domains);
  for (; it; it = it->next) {
    if (it->kind != REDIRECT_ADDRESS) return act_on_item(q, it);
    const char *address = it->is_qualified ? it->text : arena_printf(q->a, "%s@%s", it->text, cfg->qualify_recipient);
    struct address *child = address_child(q->a, q->addr, address);
    child->start_router = q->r->redirect_router;
    child->prop = q->addr->prop;
    *tail = child;
    tail = &child->next;
  }
  if (!list) return act_on_item(q, &(struct redirect_item){.kind = REDIRECT_BAD, .text = "no addresses supplied"});
  *tail = *q->rc->children;
  *q->rc->children = list;
  return ROUTE_REROUTED;
}

static enum route_result act_on(struct query *q, struct str line) {
  struct str word = str_word(&line), rest = str_trim(line);
  struct address *addr = q->addr;
  const char *text = arena_strndup_t(q->a, rest.p, rest.n, TAINTED);
  if (str_eqic_c(word, "accept")) return accept_address(q, rest);
  if (str_eqic_c(word, "redirect")) return redirect_address(q, rest);
  if (str_eqic_c(word, "decline")) return ROUTE_DECLINE;
  if (str_eqic_c(word, "pass")) return ROUTE_PASS;
  bool is_fail = str_eqic_c(word, "fail"), is_freeze = str_eqic_c(word, "freeze");
  if (!is_fail && !is_freeze && !str_eqic_c(word, "defer"))
    return bad_answer(q, "bad command yield: %.*s %s", STR_FMT(word), text);
  addr->message = text;
  if (is_fail) {
    addr->user_message = text;
    addr->pass_message = true;
    return ROUTE_FAIL;
  }
  addr->basic_errno = ERRNO_UNKNOWNERROR;
  if (is_freeze) addr->special_action = SPECIAL_FREEZE;
  return ROUTE_DEFER;
}

static enum route_result queryprogram_route(struct route_ctx *rc, struct router *r, struct address *addr) {
  struct query *q = ARENA_NEW(rc->x->a, struct query);
  *q = (struct query){.rc = rc, .r = r, .ob = r->ob, .addr = addr, .a = rc->x->a};
  struct delivery words = {.cfg = rc->x->cfg, .arena = q->a, .x = rc->x};
  struct vec argv = vec_new(q->a);
  bool is_tainted;
  addr->message = transport_expand_command(&words, q->ob->command, "queryprogram router", &argv, &is_tainted);
  if (addr->message) {
    addr->basic_errno = ERRNO_UNKNOWNERROR;
    return ROUTE_DEFER;
  }
  enum route_result res = find_ids(q);
  if (res == ROUTE_OK) res = run_command(q, &argv);
  if (res != ROUTE_OK) return res;
  for (size_t i = 0; i < q->n; i++)
    if (!q->answer[i]) q->answer[i] = '?';
  struct str all = str_n(q->answer, q->n), line = str_trim(str_cut(&all, '\n'));
  return line.n ? act_on(q, line) : defer(q, "command failed to return data");
}

static const char *queryprogram_init(struct arena *a, struct config *c, struct router *r) {
  const struct queryprogram_options *ob = r->ob;
  (void)c;
  if (!ob->command) return arena_printf(a, "%s router:\n  a command specification is required", r->name);
  if (!ob->command_user.is_set && !ob->command_user.expand) return arena_printf(a, "%s router:\n  command_user must be specified", r->name);
  return NULL;
}

const struct router_driver queryprogram_router = {.name = "queryprogram",
                                                  .options = queryprogram_options,
                                                  .option_count = ARRAY_SIZE(queryprogram_options),
                                                  .ob_size = sizeof(struct queryprogram_options),
                                                  .init = queryprogram_init,
                                                  .route = queryprogram_route};
