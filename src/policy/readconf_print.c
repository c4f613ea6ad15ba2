/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -bP: showing options, lists, drivers, macros and the configuration itself.  Floor: policy.  Manual ch. 5 "-bP".
 *
 * Writes to stdout; "not found" goes there too, as Exim's does, and makes the exit status 1. */
#include <stdio.h>
#include <unistd.h>

#include "auth.h"
#include "policy/readconf_priv.h"
#include "router.h"
#include "transport.h"

struct printer {
  const struct config *c;
  struct arena *a;
  bool no_labels, admin;
};

static void print_option(struct printer *p, const struct opt_block *b, const struct option *o) {
  if (o->flags & (OPT_HIDDEN_FEATURE | OPT_ALIAS | OPT_NOSHOW)) return;
  struct arena_mark m = arena_mark(p->a);
  puts(opt_show(p->a, b, o, !p->no_labels, p->admin));
  arena_release(p->a, m);
}

static void print_block(struct printer *p, const struct opt_block *b) {
  for (size_t i = 0; i < b->count; i++) print_option(p, b, &b->table[i]);
}

/* One view of the three kinds of driver instances. */
struct instance_view {
  const char *name;
  const struct opt_block *block, *ob_block;
};

enum { KIND_ROUTER, KIND_TRANSPORT, KIND_AUTH, KINDS };
static const char *const kind_words[KINDS] = {"router", "transport", "authenticator"};

/* The n-th instance of a kind; false behind the last. */
static bool instance_at(const struct config *c, int kind, size_t n, struct instance_view *ret) {
  if (kind == KIND_ROUTER) {
    const struct router *i = c->routers;
    while (i && n--) i = i->next;
    if (i) *ret = (struct instance_view){i->name, i->block, i->ob_block};
    return i != NULL;
  }
  if (kind == KIND_TRANSPORT) {
    const struct transport *i = c->transports;
    while (i && n--) i = i->next;
    if (i) *ret = (struct instance_view){i->name, i->block, i->ob_block};
    return i != NULL;
  }
  const struct auth_instance *i = c->auths;
  while (i && n--) i = i->next;
  if (i) *ret = (struct instance_view){i->name, i->block, i->ob_block};
  return i != NULL;
}

/* "routers": all; "router_list": their names; "router" with a name: that one. */
static bool print_drivers(struct printer *p, const char *what, const char *name, int *ret_status) {
  for (int k = 0; k < KINDS; k++) {
    size_t n = strlen(kind_words[k]);
    if (strncmp(what, kind_words[k], n) != 0) continue;
    bool all = strcmp(what + n, "s") == 0, list = strcmp(what + n, "_list") == 0;
    bool one = !what[n] && name;
    struct instance_view v;
    if (!all && !list && !one) continue;
    *ret_status = one ? 1 : 0;
    for (size_t i = 0; instance_at(p->c, k, i, &v); i++) {
      if (one && strcmp(v.name, name) != 0) continue;
      if (list) {
        puts(v.name);
        continue;
      }
      if (all) printf("\n%s %s:\n", v.name, kind_words[k]);
      print_block(p, v.block);
      print_block(p, v.ob_block);
      *ret_status = 0;
    }
    if (*ret_status) printf("%s %s not found\n", what, name);
    return true;
  }
  return false;
}

static int print_named_list(struct printer *p, const char *name) {
  static const char *const words[LIST_KINDS] = {"domainlist", "hostlist", "addresslist", "localpartlist"};
  static const enum list_kind order[LIST_KINDS] = {LIST_ADDRESS, LIST_DOMAIN, LIST_HOST, LIST_LOCALPART};
  bool found = false;
  for (int i = 0; i < LIST_KINDS; i++) {
    const struct named_list *l = config_named_list(p->c, order[i], name);
    if (!l) continue;
    found = true;
    if (!p->no_labels) printf("%s %s = ", words[order[i]], name);
    puts(l->hide ? "<value not displayable>" : l->text);
  }
  if (!found) printf("no address, domain, host, or local part list called \"%s\" exists\n", name);
  return found ? 0 : 1;
}

static bool print_macros(struct printer *p, const char *what, const char *name, int *ret_status) {
  bool all = strcmp(what, "macros") == 0, list = strcmp(what, "macro_list") == 0;
  bool one = strcmp(what, "macro") == 0 && name;
  if (!all && !list && !one) return false;
  *ret_status = one ? 1 : 0;
  for (const struct macro *m = p->c->macros; m; m = m->next) {
    if (one && strcmp(m->name, name) != 0) continue;
    *ret_status = 0;
    if (list) puts(m->name);
    else if (!p->admin && !m->builtin) printf("%s=<value not displayable>\n", m->name);
    else if (p->no_labels) puts(m->value);
    else printf("%s=%s\n", m->name, m->value);
  }
  if (*ret_status) printf("macro %s not found\n", name);
  return true;
}

/* Runs of white space outside the first column count as one blank. */
static void print_squeezed(const char *s) {
  for (bool blank = false; *s; s++) {
    if (ch_isspace(*s)) {
      blank = true;
      continue;
    }
    if (blank) putchar(' ');
    blank = false;
    putchar(*s);
  }
  putchar('\n');
}

static bool is_label(const char *s) {
  size_t n = strlen(s);
  if (!n || s[n - 1] != ':' || !ch_isalpha(*s)) return false;
  for (size_t i = 0; i + 1 < n; i++)
    if (!ch_isalnum(s[i]) && s[i] != '_' && s[i] != '-' && s[i] != '.') return false;
  return true;
}

static int print_config(struct printer *p) {
  int indent = 0;
  bool main_part = true, lined = false;
  printf("# Exim Configuration (%s)\n", p->c->harness_mode ? "X" : p->c->o.exim_version);
  for (size_t i = 0; i < p->c->text_lines.n; i++) {
    const char *s = p->c->text_lines.v[i];
    if (*s == '#') {
      puts(s);
      continue;
    }
    if (strncmp(s, "begin", 5) == 0 && ch_isblank(s[5])) {
      const char *word = str_ltrim(str_c(s + 5)).p;
      main_part = false;
      lined = strncmp(word, "retry", 5) == 0 || strncmp(word, "rewrite", 7) == 0;
      indent = 2;
      if (!p->no_labels) putchar('\n');
      print_squeezed(s);
      continue;
    }
    bool label = !main_part && !lined && is_label(s);
    if (label && !p->no_labels) putchar('\n');
    if (!main_part && !p->no_labels) printf("%*s", label ? 2 : indent, "");
    if (label) indent = 4;
    print_squeezed(s);
  }
  return 0;
}

static int print_named_option(struct printer *p, const char *name) {
  const struct opt_block *b = p->c->main_block;
  const struct option *o = opt_find(b->table, b->count, str_c(name));
  if (!o || (o->flags & OPT_ALIAS)) {
    printf("%s is not a known option\n", name);
    return 1;
  }
  print_option(p, b, o);
  return 0;
}

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

/* What is left of it, sorted; without labels the names alone. */
static void print_environment(struct printer *p) {
  struct vec all = vec_new(p->a);
  for (char **e = environ; e && *e; e++) vec_push(&all, *e);
  vec_sort(&all, by_text);
  for (size_t i = 0; i < all.n; i++) {
    const char *text = all.v[i];
    printf("%.*s\n", (int)(p->no_labels ? strcspn(text, "=") : strlen(text)), text);
  }
}

int readconf_print(const struct config *c, const char *what, const char *name, bool no_labels, bool is_admin) {
  struct printer p = {.c = c, .a = arena_new("print"), .no_labels = no_labels, .admin = is_admin};
  int status = 0;
  if (!*what || strcmp(what, "all") == 0) print_block(&p, c->main_block);
  else if (*what == '+') status = print_named_list(&p, what + 1);
  else if (strcmp(what, "config") == 0) status = print_config(&p);
  else if (strcmp(what, "configure_file") == 0 || strcmp(what, "config_file") == 0) puts(c->file);
  else if (strcmp(what, "environment") == 0) print_environment(&p);
  else if (strcmp(what, "local_scan") == 0) {
    puts("local_scan() options are not supported");
    status = 1;
  } else if (!print_macros(&p, what, name, &status) && !print_drivers(&p, what, name, &status))
    status = print_named_option(&p, what);
  arena_free(p.a);
  return status;
}
