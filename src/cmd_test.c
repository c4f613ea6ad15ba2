/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -be, -brt, -brw, -bI.  Floor: main.  Manual ch. 5.
 *
 * The texts come from the caller, who for -be has no more rights here than in a shell: exim.c gave up all privileges before,
 * or the message of -bem was read first and then they were given up here. */
#include "cmd_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/timeutil.h"
#include "cmd_input.h"
#include "filters/sieve.h"
#include "formats/rfc5322.h"
#include "message.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/net.h"
#include "os/priv.h"
#include "os/sys.h"
#include "policy/acl.h"
#include "policy/expand.h"
#include "policy/readconf.h"
#include "policy/rewrite.h"
#include "receive.h"
#include "retry.h"
#include "scan.h"
#include "spool.h"
#include "startup.h"

/* ---- -be ---- */

/* "set acl_m0 = text" gives an ACL variable its value for what follows; "set,t" makes it tainted. */
static bool set_variable(struct expand_ctx *x, const char *text) {
  struct str s = str_c(text);
  if (!str_starts(s, STR("set"))) return false;
  bool tainted = str_starts(s, STR("set,t"));
  s = str_n(s.p + (tainted ? 5 : 3), s.n - (tainted ? 5 : 3));
  size_t equals = str_index(s, '=');
  struct str name = str_trim(str_n(s.p, equals)), value = equals < s.n ? str_trim(str_n(s.p + equals + 1, s.n - equals - 1)) : STR("");
  if (s.n == 0 || !ch_isspace(s.p[0]) || equals == s.n || !str_starts(name, STR("acl_")) || name.n < 6) return false;
  for (size_t i = 0; i < name.n; i++)
    if (!ch_isalnum(name.p[i]) && name.p[i] != '_') return false;
  if (name.p[4] != 'c' && name.p[4] != 'm') return false;
  if (!x->msg) x->msg = message_new(x->cfg);
  acl_var_set(x, str_dup(x->a, name), arena_strndup_t(x->a, value.p, value.n, tainted ? TAINTED : UNTAINTED));
  printf("variable %.*s set\n", STR_FMT(str_n(name.p + 4, name.n - 4)));
  return true;
}

static void expand_and_print(struct expand_ctx *x, struct config *cfg, const char *text) {
  const char *error = NULL;
  if (ch_isupper(*text) && readconf_is_macro_definition(text)) {
    const char *name = readconf_define_macro(cfg, text, &error);
    if (name) printf("Defined macro '%s'\n", name);
    else printf("%s\n", error);
    return;
  }
  text = readconf_replace_macros(cfg, x->a, text);
  if (set_variable(x, text)) return;
  x->s.value = x->s.item = x->prvscheck_address = x->prvscheck_keynum = x->prvscheck_result = NULL; /* the line before is forgotten */
  x->s.ncaptures = 0;
  const char *result = expand_string(x, text);
  if (result) puts(result);
  else printf("Failed: %s\n", x->error ? x->error : "forced failure");
}

/* One logical line of stdin: continued by a backslash, leading blanks of what follows dropped.  NULL at the end. */
static const char *read_logical(struct cmd_input *in, struct arena *a) {
  struct strbuf b = strbuf_new(a);
  bool any = false;
  for (const char *line; (line = cmd_read_line(in, a));) {
    struct str s = str_trim(str_c(line));
    bool more = s.n && s.p[s.n - 1] == '\\';
    if (!more && !any && !s.p[s.n]) return s.p; /* the usual line is as it was read */
    any = true;
    strbuf_addstr(&b, str_n(s.p, s.n - more));
    if (!more) break;
  }
  return any ? b.p : NULL;
}

/* -Mset. */
static struct message *load_spooled(const struct config *cfg, const char *id) {
  struct message *m;
  switch (spool_open(cfg, id, false, &m)) {
  case SPOOL_OPENED: return m;
  case SPOOL_GONE: fprintf(stderr, "exim: no message %s\n", id); break;
  case SPOOL_LOCKED:
  case SPOOL_BAD:
  case SPOOL_IO_ERROR: fprintf(stderr, "exim: message %s cannot be read\n", id); break;
  }
  return NULL;
}

struct expansion {
  struct config *cfg;
  const struct cmdline *c;
  struct conn *k;
  const char *sender;
};

/* m: what the variables see, NULL for none so far; the one that is there at the end, which may be a new one. */
static struct message *expand_texts(const struct expansion *e, struct message *m) {
  struct arena *a = arena_new("be");
  struct expand_ctx x = expand_ctx_new(a, e->cfg);
  x.msg = m;
  x.conn = e->c->expand_spooled ? NULL : e->k; /* a message from the spool says itself where it came from */
  x.sender_override = m && e->c->expand_message ? m->sender : e->sender;
  x.want_defer_report = true;
  for (size_t i = 0; i < e->c->args.n; i++) {
    expand_and_print(&x, e->cfg, e->c->args.v[i]);
    fflush(stdout);
  }
  struct cmd_input in = {0};
  const struct expand_ctx fresh = x;
  const struct arena_mark start = arena_mark(a);
  while (!e->c->args.n) {
    fputs("> ", stdout);
    const char *line = read_logical(&in, a);
    if (!line) {
      putchar('\n');
      break;
    }
    expand_and_print(&x, e->cfg, line);
    if (debug_selector) fflush(stdout); /* in its place among the lines of the narration */
    /* The line is forgotten; what outlives it (variables, macros, caches) lies in arenas of its own. */
    struct message *now = x.msg;
    arena_release(a, start);
    x = fresh;
    x.msg = now;
  }
  arena_free(a);
  return x.msg;
}

/* Called by the reception when the message is complete, still with its rights. */
static void examine(void *ctx, struct message *m, struct expand_ctx *x, const char *from_line_sender, bool had_headers) {
  const struct expansion *e = ctx;
  (void)x;
  if (from_line_sender && !e->c->sender) puts("Sender taken from \"From \" line");
  if (!had_headers) puts("Warning: no message headers read");
  int fd = m->data_fd >= 0 ? dup(m->data_fd) : -1; /* the file goes, the body stays readable */
  spool_abandon(m);
  m->data_fd = fd;
  struct caller who = {.uid = e->k->uid, .gid = e->k->gid};
  startup_become_caller(&who);
  (void)expand_texts(e, m);
}

/* -bem: the file is read like a message that was submitted here; nothing of it stays. */
static int expand_with_message(const struct expansion *e) {
  const char *file = e->c->expand_message;
  int fd = priv_open_as(e->k->uid, e->k->gid, file, O_RDONLY | O_NOCTTY, 0);
  if (fd < 0) {
    fprintf(stderr, "exim: failed to open %s: %s\n", file, strerror(-fd));
    return EXIT_FAILURE;
  }
  struct submit_opts o = {.extract_recipients = e->c->extract_recipients, .dot_ends = !e->c->ignore_dots, .fd = fd, .sender = e->c->sender ? e->sender : NULL,
                          .error_handling = ERRORS_STDERR, .examine = examine, .examine_ctx = (void *)(uintptr_t)e};
  sys_role(SYS_ROLE_RECEPTION);
  int status = receive_submission(e->k, &o);
  return sys_close(fd) < 0 ? EXIT_FAILURE : status;
}

int cmd_expand(struct config *cfg, const struct cmdline *c, struct conn *k, const char *sender) {
  const struct expansion e = {.cfg = cfg, .c = c, .k = k, .sender = sender};
  struct message *m = NULL;
  if (c->expand_message) return expand_with_message(&e);
  if (c->expand_spooled && !(m = load_spooled(cfg, c->expand_spooled))) return EXIT_FAILURE;
  message_free(expand_texts(&e, m));
  return EXIT_SUCCESS;
}

/* ---- -bmalware: the scanner looks at a copy of a file, read with the rights of the Exim user ---- */

int cmd_malware(struct config *cfg, const struct cmdline *c) {
  struct message *m = message_new(cfg);
  struct expand_ctx x = expand_ctx_new(m->arena, cfg);
  const char *name = "";
  int status = EXIT_FAILURE;
  x.msg = m;
  switch (scan_malware_file(&x, c->malware_file, &name)) {
  case OUTCOME_OK: printf("Malware found: %s\n", log_escape(m->arena, str_c(name))); break;
  case OUTCOME_FAIL:
    puts("No malware found.");
    status = EXIT_SUCCESS;
    break;
  case OUTCOME_DEFER:
  case OUTCOME_ERROR:
  case OUTCOME_FAIL_DROP:
  case OUTCOME_DISCARD: puts("Malware lookup returned non-okay/fail: 1"); break;
  }
  message_free(m);
  return status;
}

/* ---- -brt ---- */

/* The name of the error, where Exim's output has one. */
static const char *shown_error(const struct retry_rule *r) {
  static const char *const shown[] = {"quota", "refused", "timeout", "auth_failed"};
  for (size_t i = 0; r->error && i < ARRAY_SIZE(shown); i++)
    if (str_startsic(str_c(r->error), str_c(shown[i]))) return r->error;
  return "*";
}

static void print_rule(const struct retry_rule *r) {
  char t[64], i[64];
  printf("Retry rule: %s  %s  ", r->pattern, shown_error(r));
  for (const struct retry_step *s = r->steps; s; s = s->next) {
    printf("%c,%s,%s", s->kind, time_format_interval(s->timeout_sec, t, sizeof(t)), time_format_interval(s->interval_sec, i, sizeof(i)));
    if (s->kind == 'G') {
      int frac = s->factor_thousandths % 1000, digits = 3;
      while (digits > 1 && frac % 10 == 0) {
        frac /= 10;
        digits--;
      }
      printf(",%d.%0*d", s->factor_thousandths / 1000, digits, frac);
    }
    printf("; ");
  }
  putchar('\n');
}

int cmd_test_retry(struct config *cfg, const struct cmdline *c) {
  struct arena *a = arena_new("brt");
  const char *domain = c->args.n ? c->args.v[0] : NULL, *other = NULL, *error_name = NULL;
  struct retry_rule wanted = {0};
  if (!domain) {
    printf("-brt needs a domain or address argument\n");
    return EXIT_FAILURE;
  }
  if (!strchr(domain, '@') && !strchr(domain, '.'))
    printf("Warning: \"%s\" contains no '@' and no '.' characters. It is being \ntreated as a one-component domain, not as a local "
           "part.\n\n", domain);
  /* The second argument is another domain when it looks like one. */
  size_t n = 1;
  if (c->args.n > 1 && (strchr(c->args.v[1], '.') || strchr(c->args.v[1], '@'))) other = c->args.v[n++];
  if (c->args.n > n) error_name = c->args.v[n];
  if (error_name) {
    const char *err = readconf_retry_error(a, error_name, &wanted);
    if (err) {
      printf("%s\n", err);
      return EXIT_FAILURE;
    }
  }
  struct expand_ctx x = expand_ctx_new(a, cfg);
  x.sender_override = c->sender && strcmp(c->sender, "<>") == 0 ? "" : c->sender;
  const struct retry_rule *rule = retry_find_rule(&x, domain, other, wanted.basic_errno, wanted.more_errno);
  if (rule) print_rule(rule);
  else printf("No retry information found\n");
  arena_free(a);
  return EXIT_SUCCESS;
}

/* ---- -brw ---- */

/* "Phrase <@route:(comment) address>" without what stands beside the address in the brackets; where there are none, an address that has comments
 * or blanks in it without them. */
static const char *without_route(struct arena *a, const char *text) {
  const char *error = NULL;
  size_t domain;
  const char *address = rfc5322_extract_address(a, str_c(text), (struct addr_opts){.allow_domain_literal = true}, &domain, &error);
  const char *bare = address ? rfc5322_put_in_brackets(a, text, address) : NULL;
  if (bare || !address || strstr(text, address)) return bare ? bare : text;
  return arena_printf(a, "%.*s%s", (int)strspn(text, " \t"), text, address);
}

/* A header line NAME: TEXT: what the rules make of its text. */
static const char *rewrite_in_header(struct expand_ctx *x, const char *name, const char *text) {
  const char *line = arena_printf(x->a, "%s: %s\n", name, text);
  struct header_line h = {.text = line, .n = strlen(line)};
  const char *changed = rewrite_header(x, &h, x->cfg->rewrite_rules);
  return without_route(x->a, changed ? str_dup(x->a, str_n(changed + strlen(name) + 2, strlen(changed) - strlen(name) - 3)) : text);
}

int cmd_test_rewrite(struct config *cfg, const struct cmdline *c) {
  static const struct {
    const char *name;
    unsigned envelope; /* 0: a header line */
  } places[] = {{"sender", 0}, {"from", 0},     {"to", 0},          {"cc", 0},
                {"bcc", 0},    {"reply-to", 0}, {"env-from", REWRITE_ENVFROM}, {"env-to", REWRITE_ENVTO}};
  struct arena *a = arena_new("brw");
  const char *error = NULL;
  size_t domain = 0;
  if (!c->args.n) {
    printf("-brw needs an address argument\n");
    return EXIT_FAILURE;
  }
  struct expand_ctx x = expand_ctx_new(a, cfg);
  const char *given = arena_strdup_t(a, c->args.v[0], TAINTED);
  if (!cfg->rewrite_rules) printf("No rewrite rules are defined\n");
  if (cfg->smtp_rewrite_rules) {
    const char *s = rewrite_address(&x, given, REWRITE_SMTP_SENDER, cfg->smtp_rewrite_rules);
    if (s != given) printf("    SMTP: %s\n", s);
  }
  unsigned wanted = 0;
  for (const struct rewrite_rule *r = cfg->rewrite_rules; r; r = r->next) wanted |= r->flags;
  if (!(wanted & (REWRITE_HEADERS | REWRITE_ENVFROM | REWRITE_ENVTO))) return EXIT_SUCCESS;
  if (!strchr(given, '@')) given = arena_printf(a, "%s@%s", given, cfg->qualify_recipient);
  const char *address = rfc5322_extract_address(a, str_c(given), (struct addr_opts){.allow_domain_literal = cfg->o.allow_domain_literals},
                                                &domain, &error);
  if (!address) {
    printf("Syntax error in %s\n%c%s\n", given, ch_upper(error[0]), error + 1);
    return EXIT_SUCCESS;
  }
  for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
    const char *result = places[i].envelope ? rewrite_address(&x, address, places[i].envelope, cfg->rewrite_rules)
                                            : rewrite_in_header(&x, places[i].name, given);
    printf("%8s: %s\n", places[i].name, *result ? result : "<>");
  }
  arena_free(a);
  return EXIT_SUCCESS;
}

/* ---- -bI ---- */

int cmd_info(const char *what) {
  bool help = strcmpic(what, "help") == 0;
  if (strcmpic(what, "dscp") == 0) {
    for (size_t i = 0; net_dscp_name(i); i++) puts(net_dscp_name(i));
    return EXIT_SUCCESS;
  }
  if (strcmpic(what, "sieve") == 0) {
    for (size_t i = 0; sieve_capability(i); i++) puts(sieve_capability(i));
    return EXIT_SUCCESS;
  }
  if (strcmpic(what, "modules") == 0) return EXIT_SUCCESS; /* none in this build */
  fprintf(help ? stdout : stderr,
          "The -bI: flag takes a string saying which list to show.  Without a known one this help goes to stderr.\n\n"
          "  exim -bI:help    this text\n"
          "  exim -bI:dscp    the known dscp keywords\n"
          "  exim -bI:modules loadable modules\n"
          "  exim -bI:sieve   the supported sieve extensions\n");
  return help ? EXIT_SUCCESS : EXIT_FAILURE;
}
