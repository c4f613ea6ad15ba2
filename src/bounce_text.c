/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts of reports from files, and the two reports that are plain letters.  Floor: flows.  Manual ch. 50, section 14.23 (freeze_tell), 22 (syntax_errors_to).
 *
 * The template is the administrator's and read as Exim's user; what it expands to may hold a sender's bytes and goes into the text of a message only,
 * or into header lines that cannot begin a new one (a line that is neither a header nor a continuation is left out). */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "bounce_priv.h"
#include "deliver_priv.h"
#include "os/log.h"
#include "os/sys.h"

enum { TEMPLATE_MAX_BYTES = 256 * 1024 };

static void complain(const char *option, const char *file, const char *why) {
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Failed to open %s for %s message texts: %s", file, strcmp(option, "warn_message_file") == 0 ? "warning" : "error",
            why);
}

static const char *read_text(struct report *r, const char *option, const char *file) {
  char *text;
  size_t n;
  const char *name = expand_option(r->x, option, file);
  if (!name && r->x->forced_fail) return NULL;
  const char *trouble = !name || !*name ? "Failed to expand" : *name != '/' ? "is not absolute after expansion"
                        : is_tainted(name) ? "is not untainted after expansion" : NULL;
  if (trouble) {
    const unsigned dest = LOG_MAIN | LOG_PANIC | LOG_MULTILINE; /* for the empty line behind it, which deployed log readers know */
    if (!name || !*name) log_write(LS_ALWAYS, dest, "%s %s: '%s'\n\n", trouble, option, log_escape(r->a, str_c(file)));
    else log_write(LS_ALWAYS, dest, "%s %s: '%s'\n\n", option, trouble, log_escape(r->a, str_c(name)));
    return NULL;
  }
  int fd = sys_open_file(name);
  int rc = fd < 0 ? fd : sys_read_file(fd, r->a, TEMPLATE_MAX_BYTES, &text, &n);
  if (fd >= 0) (void)!sys_close(fd);
  if (rc == 0) return text;
  complain(option, name, sys_open_file_error(rc));
  return NULL;
}

void report_read_template(struct report *r, const char *option, const char *file, size_t count) {
  const char *text = file ? read_text(r, option, file) : NULL;
  if (!text) return;
  struct str rest = str_c(text);
  for (size_t i = 0; i < count && i < REPORT_ITEMS && rest.n; i++) {
    struct strbuf item = strbuf_new(r->a);
    while (rest.n) {
      struct str line = str_cut(&rest, '\n');
      if (str_eq(line, STR("****"))) break;
      strbuf_add(&item, line.p, line.n);
      strbuf_addc(&item, '\n');
    }
    if (!item.n) continue;
    r->items[i] = expand_string(r->x, arena_untaint_copy(r->a, item.p, item.n)); /* the administrator wrote it */
    if (!r->items[i] && !r->x->forced_fail)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Failed to expand text from %s: %s", option, r->x->error ? r->x->error : "");
  }
}

static bool is_header_start(struct str line) {
  size_t n = 0;
  while (n < line.n && ch_isgraph(line.p[n]) && line.p[n] != ':') n++;
  return n > 0 && n < line.n && line.p[n] == ':';
}

void report_add_template_headers(struct report *r, const char *text) {
  struct str rest = str_c(text), body = STR_NULL;
  bool has_body = false;
  struct strbuf b = strbuf_new(r->a);
  while (rest.n) {
    struct str from_here = rest, line = str_cut(&rest, '\n');
    bool is_continuation = b.n && line.n && ch_isblank(line.p[0]) && str_trim(line).n;
    if (!is_continuation && b.n) {
      report_header(r, arena_strdup(r->a, b.p));
      strbuf_clear(&b);
    }
    if (!is_continuation && !is_header_start(line)) {
      body = line.n ? from_here : rest; /* such a line ends the headers, as it would in any message */
      has_body = true;
      break;
    }
    strbuf_add(&b, line.p, line.n);
    strbuf_addc(&b, '\n');
  }
  if (b.n) report_header(r, arena_strdup(r->a, b.p));
  if (!has_body) return;
  strbuf_add(&r->body, body.p, body.n);
  strbuf_addc(&r->body, '\n');
}

/* ---- plain letters ------------------------------------------------------------------------------------------ */

/* One report to each address of a comma separated list. */
static void for_each_address(struct message *m, struct expand_ctx *x, const char *list,
                             void (*write)(struct report *r, const void *data), const void *data) {
  struct str rest = str_c(list);
  struct report r;
  const char *first = NULL;
  struct strbuf all = strbuf_new(m->arena);
  while (rest.n) {
    size_t n = rfc5322_find_address_end(rest), domain;
    const char *error, *address = rfc5322_extract_address(m->arena, str_n(rest.p, n), (struct addr_opts){0}, &domain, &error);
    rest = n < rest.n ? str_n(rest.p + n + 1, rest.n - n - 1) : STR_NULL;
    if (!address || !*address) continue;
    if (!domain) address = arena_printf(m->arena, "%s@%s", address, m->cfg->qualify_recipient);
    strbuf_addl(&all, all.n ? ", " : "", address, NULL);
    if (first) message_add_recipient(r.m, address);
    else if (report_open(&r, m, x, address)) first = address;
    else return;
  }
  if (!first) return;
  r.to = arena_strdup(r.a, all.p);
  write(&r, data);
  (void)report_close(&r);
  log_set_message_id(m->id);
}

static void write_frozen(struct report *r, const void *data) {
  struct strbuf *b = &r->body;
  const char *sender = r->old->sender;
  const struct frozen_facts *f = data;
  report_plain_headers(r, f->on_arrival_by ? "Message frozen on arrival" : "Message frozen", false);
  const char *why = f->why ? f->why : "", *text = strstr(why, ": "); /* a filter's text stands in a line of its own */
  if (f->on_arrival_by) strbuf_addf(b, "Message %s was frozen on arrival by %s.\n", r->old->id, f->on_arrival_by);
  else strbuf_addf(b, "Message %s has been frozen%.*s.\n", r->old->id, (int)(text ? (size_t)(text - why) : strlen(why)), why);
  if (text) strbuf_addl(b, text + 2, ".\n", NULL);
  strbuf_addf(b, "The sender is <%s>.\n", sender ? sender : "");
  if (!f->deferred) return;
  strbuf_adds(b, "\nThe following address(es) have yet to be delivered:\n");
  for (const struct address *p = f->deferred; p; p = p->next) {
    const char *parent = p->parent ? p->parent->address : NULL;
    strbuf_addl(b, "  ", p->address, parent ? " <" : "", parent ? parent : "", parent ? ">" : "", NULL);
    strbuf_addl(b, p->message ? ": " : "", p->message ? log_escape_line(r->a, str_c(p->message)) : "", "\n", NULL);
  }
}

void bounce_tell_frozen(struct message *m, struct expand_ctx *x, const struct frozen_facts *f) {
  const char *list = m->cfg->o.freeze_tell;
  bool is_told = f->on_arrival_by || !m->local_error_message; /* what was made here may come back for ever */
  if (list && *list && is_told) for_each_address(m, x, list, write_frozen, f);
}

/* The report comes from root, who owns the configuration in which the mistake is. */
static void write_syntax(struct report *r, const void *data) {
  r->c->login = r->c->from.ident = r->m->login = "root";
  r->c->uid = r->m->uid = 0;
  r->c->gid = r->m->gid = 0;
  report_plain_headers(r, "error(s) in forwarding or filtering", true);
  strbuf_adds(&r->body, data);
}

void bounce_syntax_errors(struct message *m, struct expand_ctx *x, const char *to, const char *text) {
  for_each_address(m, x, to, write_syntax, text);
}
