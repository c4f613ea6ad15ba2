/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The redirect router: aliases and forward files.  Floor: drivers.  Manual ch. 22.
 *
 * The list comes from data= (expanded) or from a file, which is opened as the user it belongs to and checked for owner and mode on the
 * open descriptor.  Its text is hostile.  An error in it defers the address (so that a typing error bounces nothing) unless
 * skip_syntax_errors is set.  A text that says it is an Exim or Sieve filter is never taken for a list: redirect_filter.c.
 * Memory: the context's arena. */
#include <errno.h>
#include <fcntl.h>

#include "host.h"
#include "message.h"
#include "os/debug.h"
#include "os/log.h"
#include "buildconfig.h"
#include "os/priv.h"
#include "os/sys.h"
#include "policy/match.h"
#include "policy/rewrite.h"
#include "router.h"
#include "routers/redirect_list.h"
#include "routers/redirect_priv.h"
#include "routers/routers_priv.h"
#include "transport.h"

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct redirect_options, n, t, d, f)
static const struct option redirect_options[] = {
#include "routers/redirect_options.def"
};
#undef OPT_ROW

enum { REDIRECT_FILE_MAX_BYTES = 16 << 20, REDIRECT_INCLUDE_DEPTH = 10 };

enum route_result redirect_defer(struct redirect_run *run, int basic_errno, const char *message) {
  run->addr->message = message;
  run->addr->basic_errno = basic_errno;
  return ROUTE_DEFER;
}

static enum route_result list_error(struct redirect_run *run, const char *what) {
  return redirect_defer(run, ERRNO_BADREDIRECT,
                        arena_printf(redirect_arena(run), "error in redirect %s: %s", run->is_file ? "file" : "data", what));
}

/* --- the file -------------------------------------------------------------------------------------- */

static bool id_in_list(struct arena *a, const char *list, bool is_group, uint32_t id) {
  const char *pos = list, *item;
  int sep = 0;
  while (list && (item = list_next(a, &pos, &sep))) {
    struct passwd_entry pw;
    gid_t gid;
    if (is_group ? route_find_group(item, &gid) && gid == id : route_find_user(a, item, &pw) && pw.uid == id) return true;
  }
  return false;
}

static enum route_result check_file(struct redirect_run *run, const struct stat *st, const char *path) {
  struct arena *a = redirect_arena(run);
  const struct redirect_options *ob = run->ob;
  const struct passwd_entry *pw = run->rc->pw;
  if (!S_ISREG(st->st_mode)) return redirect_defer(run, ERRNO_NOTREGULAR, arena_printf(a, "%s is not a regular file", path));
  unsigned bad = (unsigned)st->st_mode & (unsigned)ob->modemask & 07777;
  if (bad)
    return redirect_defer(run, ERRNO_UNKNOWNERROR, arena_printf(a, "bad mode (0%o) for %s: 0%o bit(s) unexpected",
                                                           (unsigned)st->st_mode, path, bad));
  const struct opt_block *b = run->r->ob_block;
  bool check_owner = opt_was_set(b, "check_owner") ? ob->check_owner : ob->owners || pw;
  if (check_owner && !(pw && pw->uid == st->st_uid) && !id_in_list(a, ob->owners, false, st->st_uid))
    return redirect_defer(run, ERRNO_UNKNOWNERROR, arena_printf(a, "bad owner for %s", path));
  bool check_group = opt_was_set(b, "check_group") ? ob->check_group : ob->owngroups || (pw && (ob->modemask & 020) == 0);
  if (check_group && !(pw && pw->gid == st->st_gid) && !id_in_list(a, ob->owngroups, true, st->st_gid))
    return redirect_defer(run, ERRNO_UNKNOWNERROR, arena_printf(a, "bad group for %s", path));
  return ROUTE_OK;
}

/* The file is not there: believe it only when its directory is, an unmounted file system must not look like "no forward file". */
static enum route_result file_missing(struct redirect_run *run, uid_t uid, gid_t gid, const char *path) {
  struct arena *a = redirect_arena(run);
  if (run->ob->ignore_enotdir) return ROUTE_DECLINE;
  const char *slash = strrchr(path, '/');
  const char *dir = slash == path ? "/." : arena_printf(a, "%s/.", arena_strndup(a, path, (size_t)(slash - path)));
  int rc = priv_access_as(uid, gid, dir, 0);
  if (rc == 0 || rc == -EACCES) return ROUTE_DECLINE;
  return redirect_defer(run, ERRNO_BADREDIRECT, arena_printf(a, "failed to stat %s (%s)", dir, strerror(-rc)));
}

static enum route_result read_file(struct redirect_run *run, const char *path, uid_t uid, gid_t gid, struct str *ret) {
  struct arena *a = redirect_arena(run);
  int fd = priv_open_as(uid, gid, path, O_RDONLY | O_NONBLOCK, 0);
  if (fd == -ENOENT) return file_missing(run, uid, gid, path);
  if (fd == -ENOTDIR && run->ob->ignore_enotdir) return ROUTE_DECLINE;
  if (fd == -EACCES && run->ob->ignore_eacces) return ROUTE_DECLINE;
  if (fd == -EACCES)
    return redirect_defer(run, ERRNO_UNKNOWNERROR, arena_printf(a, "failed to open %s: %s (euid=%ld egid=%ld)", path, strerror(-fd), (long)uid, (long)gid));
  if (fd < 0) return redirect_defer(run, ERRNO_UNKNOWNERROR, arena_printf(a, "failed to open %s: %s", path, strerror(-fd)));
  struct stat st;
  enum route_result res = ROUTE_OK;
  char *p = NULL;
  size_t n = 0;
  if (fstat(fd, &st) < 0) res = redirect_defer(run, errno, arena_printf(a, "failed to fstat %s", path));
  if (res == ROUTE_OK) res = check_file(run, &st, path);
  if (res == ROUTE_OK && st.st_size > CFG_MAX_FILTER_SIZE)
    res = redirect_defer(run, ERRNO_UNKNOWNERROR, arena_printf(a, "%s is too big (max %d)", path, CFG_MAX_FILTER_SIZE));
  if (res == ROUTE_OK) {
    int rc = sys_read_file(fd, a, REDIRECT_FILE_MAX_BYTES, &p, &n);
    if (rc < 0) res = redirect_defer(run, -rc, arena_printf(a, "error reading %s: %s", path, strerror(-rc)));
  }
  (void)!sys_close(fd);
  if (res == ROUTE_OK && n == 0) res = ROUTE_DECLINE;
  /* The file passed its owner and mode checks: its commands and paths may be used. */
  if (res == ROUTE_OK) *ret = str_c(arena_untaint_copy(a, p, n));
  if (res == ROUTE_OK && ret->n != n) res = list_error(run, "the file contains a NUL byte");
  return res;
}

/* Whose rights the file is read with. */
static enum route_result file_user(struct redirect_run *run, uid_t *ret_uid, gid_t *ret_gid) {
  struct address *addr = run->addr;
  const struct config *cfg = run->rc->x->cfg;
  *ret_uid = addr->uid_set ? addr->uid : cfg->exim_uid;
  *ret_gid = addr->gid_set ? addr->gid : cfg->exim_gid;
  return ROUTE_OK;
}

static enum route_result get_text(struct redirect_run *run, struct str *ret) {
  struct expand_ctx *x = run->rc->x;
  const struct redirect_options *ob = run->ob;
  const char *in = ob->data ? ob->data : ob->file;
  const char *s = expand_string(x, in);
  if (!s) {
    if (x->forced_fail) return ROUTE_DECLINE;
    return redirect_defer(run, 0, arena_printf(x->a, "failed to expand \"%s\": %s", in, x->error ? x->error : ""));
  }
  if (!run->is_file) {
    *ret = str_c(s);
    return str_trim(*ret).n ? ROUTE_OK : ROUTE_DECLINE;
  }
  while (ch_isspace(*s)) s++;
  if (*s != '/') return redirect_defer(run, 0, arena_printf(x->a, "\"%s\" is not an absolute path", s));
  if (expand_taint_refused(x, s, "file read")) return redirect_defer(run, ERRNO_TAINT, arena_printf(x->a, "%s\n", x->error));
  uid_t uid;
  gid_t gid;
  enum route_result res = file_user(run, &uid, &gid);
  return res == ROUTE_OK ? read_file(run, s, uid, gid, ret) : res;
}

/* --- items ----------------------------------------------------------------------------------------- */

void redirect_make_one_time(struct redirect_run *run, struct address *child) {
  struct address *top = address_top(run->addr);
  child->is_one_time = true;
  child->onetime_parent = top->onetime_parent ? top->onetime_parent : top->address;
}

static void add_child(struct redirect_run *run, struct address *child) {
  child->start_router = run->r->redirect_router;
  child->hide_child = child->hide_child || run->ob->hide_child_in_errmsg;
  if (run->ob->one_time) redirect_make_one_time(run, child);
  *run->tail = child;
  run->tail = &child->next;
  run->made++;
}

enum route_result redirect_qualify_domain(struct redirect_run *run, const struct redirect_item *it, const char **ret) {
  const struct redirect_options *ob = run->ob;
  *ret = run->rc->x->cfg->qualify_recipient;
  if (it->keep_domain || ob->qualify_preserve_domain) *ret = run->addr->domain;
  else if (ob->qualify_domain) {
    *ret = expand_string(run->rc->x, ob->qualify_domain);
    if (!*ret)
      return redirect_defer(run, 0, arena_printf(redirect_arena(run), "failed to expand \"%s\" in %s router: %s",
                                                                ob->qualify_domain, run->r->name,
                                                                run->rc->x->error ? run->rc->x->error : ""));
  }
  return ROUTE_OK;
}

/* Is text the ancestor p again?  Local parts that differ in case only are different mailboxes to a router with caseful_local_part. */
static bool is_ancestor(const struct address *p, const char *text) {
  struct str la, da, lb, db;
  if (!addr_split(p->address, &la, &da) || !addr_split(text, &lb, &db) || !str_eqic(da, db)) return false;
  return p->router && p->router->o.caseful_local_part ? str_eq(la, lb) : str_eqic(la, lb);
}

enum route_result redirect_item_address(struct redirect_run *run, const struct redirect_item *it, struct address **ret) {
  struct arena *a = redirect_arena(run);
  struct expand_ctx *x = run->rc->x;
  const char *text = it->text;
  if (!it->is_qualified) {
    const char *domain;
    enum route_result res = redirect_qualify_domain(run, it, &domain);
    if (res != ROUTE_OK) return res;
    text = arena_printf(a, "%s@%s", text, domain);
  }
  if (run->ob->rewrite && x->cfg->rewrite_rules) text = rewrite_address(x, text, REWRITE_ENVTO | (run->is_unlogged ? REWRITE_UNLOGGED : 0), x->cfg->rewrite_rules);
  bool is_self = strcmpic(text, run->addr->address) == 0;
  if (run->ob->check_ancestor && !is_self)
    for (const struct address *p = run->addr->parent; p; p = p->parent)
      if (is_ancestor(p, text)) {
        text = run->addr->address;
        break;
      }
  struct address *child = address_child(a, run->addr, text);
  add_child(run, child);
  if (ret) *ret = child;
  return ROUTE_OK;
}

/* What a pseudo address needs: the option that names its transport, and whether it is forbidden. */
struct pseudo_kind {
  const char *option, *transport;
  bool is_forbidden;
  int forbidden_errno;
  const char *forbidden;
};

static struct pseudo_kind pseudo_kind_of(const struct redirect_options *ob, const char *text) {
  if (*text == '|')
    return (struct pseudo_kind){"pipe_transport", ob->pipe_transport, ob->forbid_pipe || ob->one_time, ERRNO_FORBIDPIPE,
                                "delivery to pipe forbidden"};
  if (*text == '>')
    return (struct pseudo_kind){"reply_transport", ob->reply_transport, ob->forbid_filter_reply, ERRNO_FORBIDREPLY, "autoreply forbidden"};
  bool is_directory = str_ends(str_c(text), STR("/"));
  return (struct pseudo_kind){is_directory ? "directory_transport" : "file_transport",
                              is_directory ? ob->directory_transport : ob->file_transport, ob->forbid_file || ob->one_time,
                              ERRNO_FORBIDFILE, "delivery to file forbidden"};
}

/* The transport is found now, problems with it stay with the child (deliver.c acts on its basic_errno). */
static void choose_transport(struct redirect_run *run, struct address *child, const struct pseudo_kind *k) {
  struct arena *a = redirect_arena(run);
  struct expand_ctx *x = run->rc->x;
  child->basic_errno = ERRNO_BADTRANSPORT;
  if (k->transport) {
    x->address_pipe = child->is_pipe ? child->address : NULL;
    x->address_file = address_file_name(child);
    child->transport = route_named_transport(run->rc, run->r, k->transport, child);
    x->address_pipe = x->address_file = NULL;
    if (child->transport) child->basic_errno = 0;
  } else {
    child->message = arena_printf(a, "%s unset in %s router", k->option, run->r->name);
  }
  if (!k->is_forbidden) return;
  child->basic_errno = k->forbidden_errno;
  child->message = k->forbidden;
}

enum route_result redirect_item_pseudo(struct redirect_run *run, const struct redirect_item *it, struct address **ret) {
  struct address *parent = run->addr, *child = address_pseudo_child(redirect_arena(run), parent, it->text);
  int same = 0;
  for (const struct address *p = run->generated; p; p = p->next) same += strcmp(p->address, child->address) == 0;
  address_number_reply(redirect_arena(run), child, same);
  child->router = run->r;
  child->uid = parent->uid;
  child->gid = parent->gid;
  child->uid_set = parent->uid_set;
  child->gid_set = parent->gid_set;
  child->initgroups = parent->initgroups;
  child->home_dir = parent->home_dir;
  child->current_dir = parent->current_dir;
  add_child(run, child);
  struct pseudo_kind k = pseudo_kind_of(run->ob, it->text);
  choose_transport(run, child, &k);
  if (ret) *ret = child;
  return ROUTE_OK;
}

static enum route_result run_list(struct redirect_run *run, struct str text, int depth);

static enum route_result item_include(struct redirect_run *run, const struct redirect_item *it, int depth) {
  struct arena *a = redirect_arena(run);
  const struct redirect_options *ob = run->ob;
  const char *path = it->text;
  if (ob->forbid_include) return list_error(run, "included files not permitted");
  if (depth >= REDIRECT_INCLUDE_DEPTH) return list_error(run, "included files are nested too deeply");
  if (*path != '/') return list_error(run, arena_printf(a, "included file \"%s\" is not an absolute path", path));
  /* The name stands in the administrator's data or the user's own file, but text from a message must not choose files. */
  if (!run->is_file && expand_taint_refused(run->rc->x, path, "filename for included file"))
    return list_error(run, run->rc->x->error);
  if (ob->include_directory) {
    size_t n = strlen(ob->include_directory);
    if (strncmp(path, ob->include_directory, n) != 0 || path[n] != '/' || strstr(path, "/../"))
      return list_error(run, arena_printf(a, "included file %s is not in directory %s", path, ob->include_directory));
  }
  uid_t uid;
  gid_t gid;
  enum route_result res = file_user(run, &uid, &gid);
  if (res != ROUTE_OK) return res;
  int fd = priv_open_as(uid, gid, path, O_RDONLY | O_NONBLOCK, 0);
  if (fd < 0) return list_error(run, arena_printf(a, "failed to open included file %s: %s", path, strerror(-fd)));
  struct stat st;
  char *p = NULL;
  size_t n = 0;
  int rc = fstat(fd, &st) < 0 ? -errno : 0;
  if (rc == 0 && !S_ISREG(st.st_mode)) rc = -ENXIO;
  bool is_big = rc == 0 && st.st_size > CFG_MAX_INCLUDE_SIZE;
  if (rc == 0 && !is_big) rc = sys_read_file(fd, a, REDIRECT_FILE_MAX_BYTES, &p, &n);
  (void)!sys_close(fd);
  if (is_big) return list_error(run, arena_printf(a, "included file %s is too big (max %d)", path, CFG_MAX_INCLUDE_SIZE));
  if (rc < 0) return list_error(run, arena_printf(a, "failed to read included file %s: %s", path, sys_open_file_error(rc)));
  if (run->is_file || run->rc->pw) {
    res = check_file(run, &st, path);
    if (res != ROUTE_OK) return res;
  }
  return run_list(run, str_c(arena_untaint_copy(a, p, n)), depth + 1);
}

static enum route_result item_final(struct redirect_run *run, const struct redirect_item *it) {
  struct arena *a = redirect_arena(run);
  bool is_fail = it->kind == REDIRECT_FAIL;
  if (is_fail ? !run->ob->allow_fail : !run->ob->allow_defer)
    return list_error(run, arena_printf(a, "\":%s:%s%s\" is not permitted", is_fail ? "fail" : "defer", *it->text ? " " : "", it->text));
  struct address *addr = run->addr;
  addr->message = addr->user_message = it->text;
  addr->basic_errno = is_fail ? 0 : ERRNO_UNKNOWNERROR;
  addr->pass_message = true;
  if (run->ob->forbid_smtp_code) {
    /* A code in the text would decide the reply: it is dropped. */
    const char *s = it->text;
    if (ch_isdigit(s[0]) && ch_isdigit(s[1]) && ch_isdigit(s[2]) && ch_isspace(s[3])) addr->user_message = s + 4;
  }
  return is_fail ? ROUTE_FAIL : ROUTE_DEFER;
}

/* "what is wrong in "text"": the text on a line of its own. */
static void note_mistake(struct redirect_run *run, const char *text) {
  const char *in = strstr(text, " in \"");
  if (!run->ob->syntax_errors_to) return;
  if (!run->mistakes.a) run->mistakes = strbuf_new_t(redirect_arena(run), TAINTED, 256);
  if (in) strbuf_addf(&run->mistakes, "  %.*s in the address\n  %s\n\n", (int)(in - text), text, in + 4);
  else strbuf_addf(&run->mistakes, "  %s\n\n", text);
}

/* Whom to tell about them once the address is routed. */
static void report_mistakes(struct redirect_run *run) {
  struct arena *a = redirect_arena(run);
  const struct redirect_options *ob = run->ob;
  struct strbuf b = strbuf_new_t(a, TAINTED, 512);
  if (!run->mistakes.n) return;
  const char *text = ob->syntax_errors_text ? expand_string(run->rc->x, ob->syntax_errors_text) : NULL;
  if (ob->syntax_errors_text && !text)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand syntax_errors_text in %s router: %s", run->r->name,
              run->rc->x->error ? run->rc->x->error : "");
  if (text) strbuf_addl(&b, text, "\n\n", NULL);
  strbuf_addl(&b, "The ", run->r->name, " router encountered the following error(s):\n\n", run->mistakes.p, NULL);
  strbuf_adds(&b, run->made ? "Other addresses were processed normally.\n" : "No valid addresses were generated.\n");
  const char *to = expand_string(run->rc->x, ob->syntax_errors_to);
  if (!to || !*to) return;
  run->addr->syntax_report = ARENA_NEW(a, struct syntax_report);
  *run->addr->syntax_report = (struct syntax_report){to, b.p};
}

enum route_result redirect_bad(struct redirect_run *run, const char *text) {
  run->bad++;
  note_mistake(run, text);
  log_write(LS_ALWAYS, LOG_MAIN, "%s router: skipped error: %s", run->r->name, text);
  return ROUTE_OK;
}

static enum route_result item_bad(struct redirect_run *run, const struct redirect_item *it) {
  return run->ob->skip_syntax_errors ? redirect_bad(run, it->text) : list_error(run, it->text);
}

static enum route_result run_item(struct redirect_run *run, const struct redirect_item *it, int depth) {
  switch (it->kind) {
    case REDIRECT_ADDRESS: return redirect_item_address(run, it, NULL);
    case REDIRECT_PIPE:
    case REDIRECT_FILE: return redirect_item_pseudo(run, it, NULL);
    case REDIRECT_INCLUDE: return item_include(run, it, depth);
    case REDIRECT_UNKNOWN: return ROUTE_DECLINE;
    case REDIRECT_DEFER:
    case REDIRECT_FAIL: return item_final(run, it);
    case REDIRECT_BAD: return item_bad(run, it);
    case REDIRECT_BLACKHOLE:
      return run->ob->forbid_blackhole ? list_error(run, "\":blackhole:\" is not permitted") : ROUTE_DISCARD;
  }
  return ROUTE_DEFER;
}

static enum route_result run_list(struct redirect_run *run, struct str text, int depth) {
  const struct config *cfg = run->rc->x->cfg;
  struct redirect_item *list =
      redirect_list_parse(redirect_arena(run), text, true, /* whether a literal can be routed shows when it is */
                          cfg->o.allow_utf8_domains || (run->rc->x->msg && run->rc->x->msg->smtputf8));
  for (const struct redirect_item *it = list; it; it = it->next) {
    enum route_result res = run_item(run, it, depth);
    if (res != ROUTE_OK) return res;
  }
  return ROUTE_OK;
}

/* The children get the properties of the address as they are after errors_to, headers_add and headers_remove. */
static void hand_over_children(struct redirect_run *run) {
  if (!run->generated) return;
  for (struct address *c = run->generated; c; c = c->next) {
    const char *errors_to = c->prop.errors_address;
    bool is_noerror = c->prop.is_noerror;
    c->prop = run->addr->prop;
    if (is_noerror) c->prop.ignore_error = c->prop.is_noerror = true;
    /* Who asked for success is told of the expansion, and that was all; "never" goes on to whom the message goes (RFC 3461 5.2.7). */
    c->dsn_flags &= DSN_NEVER;
    c->orcpt = NULL;
    if (!c->has_own_errors_to) continue;
    c->prop.errors_address = errors_to;
    c->prop.ignore_error = c->prop.is_noerror = !*errors_to;
  }
  if (run->addr->dsn_flags & DSN_SUCCESS) run->addr->dsn_expanded = true;
  *run->tail = *run->rc->children;
  *run->rc->children = run->generated;
}

static bool was_ancestor_router(const struct redirect_run *run) {
  for (const struct address *p = run->addr->parent; p; p = p->parent)
    if (p->router == run->r) return true;
  return false;
}

static void set_errors_to(struct redirect_run *run, const char *errors) {
  struct addr_prop *prop = &run->addr->prop;
  prop->errors_address = errors;
  if (errors && router_sets_errors_to(run->r)) prop->ignore_error = prop->is_noerror || !*errors;
}

/* Expand the data, or read the file, and obey it: ROUTE_OK with the children made, or what becomes of the address without them. */
static enum route_result obey_data(struct redirect_run *run) {
  struct address *addr = run->addr;
  struct str text;
  enum route_result res = get_text(run, &text);
  if (res != ROUTE_OK) return res;
  enum redirect_filter kind = redirect_filter_kind(text);
  res = kind == REDIRECT_NO_FILTER ? run_list(run, text, 0) : redirect_run_filter(run, text, kind);
  if (res != ROUTE_OK) return res;
  report_mistakes(run);
  if (run->made > 0) return ROUTE_OK;
  if (run->bad) { /* unless a later router knows better */
    addr->message = "syntax error in redirection data";
    addr->user_message = "";
  }
  addr->is_filter_discard = run->is_finished;
  return run->is_finished ? ROUTE_DISCARD : ROUTE_DECLINE;
}

static enum route_result redirect_route(struct route_ctx *rc, struct router *r, struct address *addr) {
  const struct redirect_options *ob = r->ob;
  struct redirect_run run = {.rc = rc, .r = r, .ob = ob, .addr = addr, .is_file = ob->file != NULL};
  run.tail = &run.generated;
  if (!ob->repeat_use && was_ancestor_router(&run)) return ROUTE_DECLINE;
  struct addr_prop saved = addr->prop;
  int saved_children = addr->child_count;
  const char *errors = NULL;
  enum route_result res = route_get_user(rc, r, addr);
  if (res == ROUTE_OK) res = route_get_errors_address(rc, r, addr, &errors);
  if (res == ROUTE_OK) res = route_get_munge_headers(rc, r, addr);
  if (res == ROUTE_OK) res = obey_data(&run);
  if (res != ROUTE_OK) {
    if (run.keeps_children) {
      set_errors_to(&run, errors);
      hand_over_children(&run);
    }
    addr->prop = saved;
    if (!run.keeps_children) addr->child_count = saved_children;
    else addr->child_count++; /* itself: it is not done with when they are */
    if (res == ROUTE_FAIL) set_errors_to(&run, errors); /* who is told, or that nobody is, is this router's to say */
    return res;
  }
  set_errors_to(&run, errors);
  hand_over_children(&run);
  if (run.is_unseen) {
    route_go_on(rc, r, addr);
    (*rc->children)->self_hostname = addr->self_hostname; /* the same address on its way, no copy */
  }
  return ROUTE_REROUTED;
}

static const char *redirect_init(struct arena *a, struct config *c, struct router *r) {
  (void)c;
  struct redirect_options *ob = r->ob;
  if (r->o.transport) return arena_printf(a, "\n  %s router:\n  a transport must not be defined for this router", r->name);
  /* Set to nothing is set: such a router only collects other options' values. */
  bool has_data = opt_was_set(r->ob_block, "data"), has_file = opt_was_set(r->ob_block, "file");
  if (has_data == has_file)
    return arena_printf(a, "%s router:\n  %sone of \"file\" or \"data\" must be specified", r->name, has_data ? "only " : "");
  if (ob->one_time && (r->o.unseen.value || r->o.unseen.expand))
    return arena_printf(a, "%s router:\n  \"unseen\" may not be used with \"one_time\"", r->name);
  if (ob->one_time && (r->o.headers_add || r->o.headers_remove))
    return arena_printf(a, "%s router:\n  \"headers_add\" and \"headers_remove\" are not permitted with \"one_time\"", r->name);
  bool has_user = r->o.check_local_user || r->o.user.is_set || r->o.user.expand;
  if (ob->allow_filter && !has_user) /* a filter runs as somebody */
    return arena_printf(a, "%s router:\n  \"user\" or \"check_local_user\" must be set with \"allow_filter\"", r->name);
  if (ob->qualify_preserve_domain && ob->qualify_domain)
    return arena_printf(a, "%s router:\n  only one of \"qualify_domain\" or \"qualify_preserve_domain\" must be set", r->name);
  if (ob->one_time) ob->forbid_file = ob->forbid_pipe = ob->forbid_filter_reply = true; /* what cannot become a recipient of the message */
  /* For -bP; check_file() looks at what was set. */
  if (!opt_was_set(r->ob_block, "check_owner")) ob->check_owner = r->o.check_local_user || ob->owners;
  if (!opt_was_set(r->ob_block, "check_group")) ob->check_group = ob->owngroups;
  return NULL;
}

const struct router_driver redirect_router = {.name = "redirect",
                                              .options = redirect_options,
                                              .option_count = ARRAY_SIZE(redirect_options),
                                              .ob_size = sizeof(struct redirect_options),
                                              .init = redirect_init,
                                              .route = redirect_route};
