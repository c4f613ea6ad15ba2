/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -bf and -bF.  Floor: main.  Manual ch. 5; filter document ch. 1, sections 3 to 5.
 *
 * The message is received like a submission, so that its header lines and $message_... are what a delivery would see; it never gets a -H file.  Then its
 * spool file is unlinked (the descriptor stays), the process becomes its caller for good, and only then is the filter looked at: whoever tests a
 * filter can read with it what he can read without it. */
#include "cmd_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "filters/filter.h"
#include "filters/sieve.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/sys.h"
#include "receive.h"
#include "routers/redirect_list.h"
#include "spool.h"
#include "startup.h"

enum { FILTER_FILE_MAX = 16 << 20 };

struct filter_test_run {
  const struct cmdline *cmd;
  struct conn *c;
  struct message *m;
  struct expand_ctx *x;
  struct arena *a;
  struct address *addr;
  struct tree vars;           /* $sn0.. after a system filter */
  int status;
};

/* ---- the message ---- */

static bool read_file(struct arena *a, const char *path, struct str *ret) {
  char *p = NULL;
  size_t n = 0;
  int fd = sys_open(path, O_RDONLY | O_NOCTTY, 0);
  int rc = fd < 0 ? fd : sys_read_file(fd, a, FILTER_FILE_MAX, &p, &n);
  if (fd >= 0) (void)!sys_close(fd);
  if (rc < 0) {
    fprintf(stderr, "exim: failed to open %s: %s\n", path, strerror(-rc));
    return false;
  }
  *ret = str_n(arena_untaint_copy(a, p, n), n); /* the caller's own file, obeyed with the caller's rights */
  return true;
}

/* The Return-path: header line, else the sender. Reception has struck it out (return_path_remove): it counts all the same. */
static void set_return_path(struct filter_test_run *t) {
  struct header_line *h = t->m->headers;
  struct str name, value;
  const char *error, *path = NULL;
  while (h && !(header_split(str_n(h->text, h->n), &name, &value) && str_eqic(name, STR("return-path")))) h = h->next;
  if (h)
    path = rfc5322_extract_address(t->a, str_trim(value), (struct addr_opts){.allow_empty = true}, NULL, &error);
  printf(path ? "Return-path taken from \"Return-path:\" header line\nReturn-path = %s\n" : "Return-path copied from sender\n",
         path && *path ? path : "<>");
  t->x->return_path = path ? path : t->m->sender;
}

static void make_recipient(struct filter_test_run *t) {
  const struct cmdline *cmd = t->cmd;
  const char *prefix = cmd->filter_prefix ? cmd->filter_prefix : "", *suffix = cmd->filter_suffix ? cmd->filter_suffix : "";
  const char *local = cmd->filter_local_part ? cmd->filter_local_part : t->c->login ? t->c->login : "";
  const char *domain = cmd->filter_domain ? cmd->filter_domain : t->c->cfg->qualify_recipient;
  const char *shown = arena_printf(t->a, "%s%s%s@%s", prefix, local, suffix, domain);
  t->addr = address_new(t->a, arena_printf(t->a, "%s@%s", local, domain));
  t->addr->prefix = cmd->filter_prefix;
  t->addr->suffix = cmd->filter_suffix;
  t->x->addr = t->addr;
  t->m->recipient_count = 0;
  message_add_recipient(t->m, shown);
  printf("Sender      = %s\nRecipient   = %s\n", *t->m->sender ? t->m->sender : "<>", shown);
  if (cmd->filter_prefix) printf("Prefix    = %s\n", prefix);
  if (cmd->filter_suffix) printf("Suffix    = %s\n", suffix);
}

/* ---- the filters ---- */

static void change_header(void *ctx, bool add, const char *text) {
  struct filter_test_run *t = ctx;
  filter_change_header(t->m, add, text);
}

static void print_end(const struct filter_test_run *t, const struct filter_result *r) {
  static const char *const words[FILTER_END_KINDS] = {[FILTER_END_DEFER] = "defer", [FILTER_END_FAIL] = "fail", [FILTER_END_FREEZE] = "freeze"};
  if (r->end == FILTER_BROKEN) printf("Filter error: %s\n", log_escape(t->a, str_c(r->message)));
  else if (words[r->end]) printf("Filtering ended by \"%s\".\n", words[r->end]);
  else if (r->is_significant)
    puts("Filtering set up at least one significant delivery or other action.\nNo other deliveries will occur.");
  else puts("Filtering did not set up a significant delivery.\nNormal delivery will occur.");
}

static void run_filter(struct filter_test_run *t, struct str text, bool is_system) {
  struct filter_env env = {.x = t->x, .rights = {.is_system = is_system}, .is_test = true, .is_verbose = t->cmd->verbose || t->cmd->debug,
                           .qualify_domain = t->c->cfg->qualify_recipient, .own_address = t->addr->address,
                           .change_header = is_system ? change_header : NULL, .ctx = t};
  const char *error;
  struct filter_result r = {0};
  const struct filter_command *commands = filter_parse(t->a, text, &env.rights, &error);
  t->x->addr = is_system ? NULL : t->addr; /* a system filter looks at the message, not at one recipient */
  if (error) r = (struct filter_result){.end = FILTER_BROKEN, .message = error};
  else r = filter_obey(&env, commands);
  print_end(t, &r);
  if (r.end == FILTER_BROKEN) t->status = EXIT_FAILURE;
  for (int i = 0; i < FILTER_VARS; i++)
    if (is_system) tree_insert(&t->vars, t->a, arena_printf(t->a, "sn%d", i), NULL)->val = r.n[i];
  if (is_system) t->x->filter_vars = &t->vars;
}

/* Mistakes in it are no failure of the test: such a script keeps the message. */
static void run_sieve(struct filter_test_run *t, struct str text) {
  struct sieve_env env = {.x = t->x, .is_test = true, .is_verbose = t->cmd->verbose || t->cmd->debug, .inbox = "inbox"};
  struct sieve_script script = sieve_parse(t->a, text, (struct sieve_rights){.has_vacation = true});
  struct address full = *t->addr;
  full.address = t->m->recipients[0].address; /* prefix and suffix included */
  t->x->addr = &full;
  (void)sieve_obey(&env, &script);
  if (env.error) printf("Sieve error: %s\n", log_escape(t->a, str_c(env.error)));
  else puts(env.is_kept ? "Implicit keep" : "No implicit keep");
}

static const char *list_item_text(struct filter_test_run *t, const struct redirect_item *it) {
  if (it->kind != REDIRECT_ADDRESS || it->is_qualified) return it->text;
  return arena_printf(t->a, "%s@%s", it->text, t->c->cfg->qualify_recipient);
}

static void run_list(struct filter_test_run *t, struct str text) {
  const struct main_options *o = &t->c->cfg->o;
  struct vec made = vec_new(t->a);
  for (const struct redirect_item *it = redirect_list_parse(t->a, text, o->allow_domain_literals, o->allow_utf8_domains); it; it = it->next) {
    if (it->kind == REDIRECT_BAD || it->kind == REDIRECT_FAIL || it->kind == REDIRECT_DEFER) {
      if (it->kind == REDIRECT_BAD) printf("exim: error in forward file: %s\n", it->text);
      else printf("exim: error in forward file: \":%s: %s\" is not permitted\n", it->kind == REDIRECT_FAIL ? "fail" : "defer", it->text);
      t->status = EXIT_FAILURE;
      return;
    }
    if (it->kind == REDIRECT_BLACKHOLE) puts("exim: forwardfile contains \":blackhole:\"");
    if (it->kind == REDIRECT_ADDRESS || it->kind == REDIRECT_PIPE || it->kind == REDIRECT_FILE)
      vec_push(&made, (void *)(uintptr_t)list_item_text(t, it));
  }
  puts(made.n ? "exim: forward file generated:" : "exim: no addresses generated from forward file");
  for (size_t i = made.n; i-- > 0;) printf("  %s\n", (const char *)made.v[i]);
}

static void test_file(struct filter_test_run *t, const char *path, struct str text, bool is_system) {
  enum redirect_filter kind = redirect_filter_kind(text);
  const char *what = is_system || kind == REDIRECT_EXIM_FILTER ? "Exim filter" : kind == REDIRECT_SIEVE_FILTER ? "Sieve filter" : "forward file";
  printf("Testing %s file \"%s\"\n\n", what, path);
  (void)fflush(stdout);
  if (is_system || kind == REDIRECT_EXIM_FILTER) run_filter(t, text, is_system);
  else if (kind == REDIRECT_NO_FILTER) run_list(t, text);
  else run_sieve(t, text);
  (void)fflush(stdout);
}

/* Called by the reception when the message is complete. */
static void examine(void *ctx, struct message *m, struct expand_ctx *x, const char *from_line_sender, bool had_headers) {
  struct filter_test_run *t = ctx;
  t->m = m;
  t->x = x;
  t->a = m->arena;
  int fd = m->data_fd >= 0 ? dup(m->data_fd) : -1;
  spool_abandon(m);
  m->data_fd = fd;
  m->deliver_firsttime = true;
  if (!had_headers) puts("Warning: no message headers read");
  if (from_line_sender && !t->cmd->sender) puts("Sender taken from \"From \" line");
  struct caller who = {.uid = t->c->uid, .gid = t->c->gid};
  startup_become_caller(&who);
  const struct passwd *pw = getpwuid(t->c->uid); /* $home is the caller's, whatever the environment says */
  if (pw && !t->x->home) t->x->home = arena_strdup_t(t->a, pw->pw_dir, UNTAINTED);
  set_return_path(t);
  make_recipient(t);
  struct str text;
  if (t->cmd->system_filter_file) {
    if (!read_file(t->a, t->cmd->system_filter_file, &text)) t->status = EXIT_FAILURE;
    else test_file(t, t->cmd->system_filter_file, text, true);
  }
  if (t->cmd->filter_file && t->status == EXIT_SUCCESS) {
    if (!read_file(t->a, t->cmd->filter_file, &text)) t->status = EXIT_FAILURE;
    else test_file(t, t->cmd->filter_file, text, false);
  }
}

int cmd_test_filter(struct conn *c, const struct cmdline *cmd, const char *sender) {
  struct filter_test_run t = {.cmd = cmd, .c = c};
  static const char *const nobody[] = {"postmaster"};
  const char *file = cmd->system_filter_file ? cmd->system_filter_file : cmd->filter_file;
  if (priv_access_as(c->uid, c->gid, file, R_OK) == -ENOENT) {
    fprintf(stderr, "exim: failed to open %s: %s\n", file, strerror(ENOENT));
    return EXIT_FAILURE;
  }
  if (cmd->sender) c->is_trusted = true; /* the message is then another person's: no Sender: line, no name of the caller in From: */
  struct submit_opts o = {.recipients = nobody, .recipient_count = 1, .dot_ends = !cmd->ignore_dots, .sender = sender, .fd = 0,
                          .error_handling = ERRORS_STDERR, /* nobody's mail */
                          .examine = examine, .examine_ctx = &t};
  int status = receive_submission(c, &o);
  return status ? status : t.status;
}
