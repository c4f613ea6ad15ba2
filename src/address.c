/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making addresses and their children.  Floor: policy (objects).
 *
 * Everything lives in the arena given by the caller (that of the message).  The text may be hostile; it must have passed
 * rfc5322_extract_address() and be qualified.  Unique forms: a plain address is unique by its text (domain in lower case); a pseudo
 * address (pipe, file, reply) by its text and the address it comes from, so that whoever is reached in two ways gets one copy, with "/router" when an
 * unseen router made it, because the next router may make the same; an address equal to one of its ancestors (a homonym) gets "/transport/router"
 * appended when it is queued for a transport, so that the journal can tell it from the ancestor. */
#include "address.h"

#include "transport.h"

#include "base/strbuf.h"

static void address_split(struct arena *a, struct address *addr) {
  struct str local = str_c(addr->address), domain = STR("");
  (void)addr_split(addr->address, &local, &domain);
  const char *cc = addr_dequote_local_part(a, local);
  addr->cc_local_part = cc;
  addr->lc_local_part = str_dup_lower(a, str_c(cc));
  addr->local_part = addr->lc_local_part;
  addr->domain = str_dup_lower(a, domain);
  if (domain.n == 0) {
    addr->unique = addr->address;
    return;
  }
  struct strbuf u = strbuf_new(a);
  strbuf_addstr(&u, local);
  strbuf_addc(&u, '@');
  strbuf_adds(&u, addr->domain);
  addr->unique = u.p;
}

static struct address *address_alloc(struct arena *a, const char *text) {
  struct address *addr = ARENA_NEW(a, struct address);
  addr->address = text;
  addr->mode = -1;
  addr->result = OUTCOME_DEFER;
  return addr;
}

struct address *address_new(struct arena *a, const char *text) {
  struct address *addr = address_alloc(a, text);
  address_split(a, addr);
  return addr;
}

static void address_inherit(struct address *addr, struct address *parent) {
  addr->parent = parent;
  addr->prop = parent->prop;
  addr->orcpt = parent->orcpt;
  addr->dsn_flags = parent->dsn_flags;
  addr->rcpt = parent->rcpt;
  addr->onetime_parent = parent->onetime_parent;
  addr->hide_child = parent->hide_child;
  addr->is_verify_only = parent->is_verify_only;
  parent->child_count++;
}

struct address *address_child(struct arena *a, struct address *parent, const char *text) {
  struct address *addr = address_new(a, text);
  address_inherit(addr, parent);
  for (const struct address *p = parent; p; p = p->parent)
    if (!p->is_file && !p->is_pipe && !p->is_reply && strcmpic(p->address, text) == 0) addr->homonym = true;
  return addr;
}

struct address *address_pseudo_child(struct arena *a, struct address *parent, const char *text) {
  struct address *addr = address_alloc(a, text);
  addr->cc_local_part = parent->cc_local_part;
  addr->lc_local_part = parent->lc_local_part;
  addr->local_part = parent->local_part;
  addr->domain = parent->domain;
  addr->prefix = parent->prefix;
  addr->prefix_v = parent->prefix_v;
  addr->suffix = parent->suffix;
  addr->suffix_v = parent->suffix_v;
  addr->is_pipe = text[0] == '|';
  addr->is_file = text[0] == '/' || strncmp(text, ADDRESS_SAVE, sizeof ADDRESS_SAVE - 1) == 0;
  addr->is_reply = text[0] == '>';
  struct strbuf u = strbuf_new(a);
  strbuf_addl(&u, text, ":", parent->unique, NULL);
  if (parent->unseen_by) strbuf_addl(&u, "/", parent->unseen_by, NULL);
  /* A journal line ends at the newline: a command may hold one. */
  for (size_t i = 0; i < u.n; i++)
    if (u.p[i] == '\n') u.p[i] = ' ';
  addr->unique = u.p;
  address_inherit(addr, parent);
  return addr;
}

void address_number_reply(struct arena *a, struct address *addr, int nth) {
  if (addr->is_reply && nth) addr->unique = arena_printf(a, "%d%s", nth, addr->unique);
}

struct address *address_top(struct address *addr) {
  while (addr->parent) addr = addr->parent;
  return addr;
}

const char *address_file_name(const struct address *addr) {
  if (!addr->is_file) return NULL;
  bool is_relative = addr->address[0] != '/';
  return addr->address + (is_relative ? sizeof ADDRESS_SAVE - 1 : 0);
}

const char *address_rcpt_text(struct arena *a, const struct address *addr) {
  struct str local, domain;
  size_t prefix = addr->prefix ? strlen(addr->prefix) : 0, suffix = addr->suffix ? strlen(addr->suffix) : 0;
  bool keep = addr->transport && addr->transport->o.rcpt_include_affixes;
  if (keep || prefix + suffix == 0 || !addr_split(addr->address, &local, &domain) || local.n <= prefix + suffix) return addr->address;
  return arena_printf(a, "%.*s@%.*s", (int)(local.n - prefix - suffix), local.p + prefix, STR_FMT(domain));
}

const char *address_local_part_given(struct arena *a, const struct address *addr) {
  if (!addr->prefix && !addr->suffix) return addr->local_part;
  return arena_printf(a, "%s%s%s", addr->prefix ? addr->prefix : "", addr->local_part, addr->suffix ? addr->suffix : "");
}

bool address_same_batch(const struct address *a, const struct address *b) { return a->first && a->first == b->first; }
