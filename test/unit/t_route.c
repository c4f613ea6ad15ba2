/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The routers and their generic options (manual ch. 3.12, 15, 16, 20, 22), from a configuration file that the test writes. */
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "message.h"
#include "os/sys.h"
#include "policy/readconf.h"
#include "router.h"
#include "transport.h"

static const char config_text[] =
    "primary_hostname = h.example\n"
    "qualify_domain = h.example\n"
    "keep_environment =\n"
    "spool_directory = /nonexistent\n"
    "begin routers\n"
    "verify_only_r:\n driver = accept\n verify_only\n local_parts = onlyverify\n"
    "sender_r:\n driver = accept\n senders = list@h.example\n local_parts = bysender\n transport = local\n"
    "alias:\n driver = redirect\n allow_fail\n allow_defer\n pipe_transport = local\n"
    " data = ${if eq{$local_part}{one}{two}{${if eq{$local_part}{many}{a, b@x.example, |/bin/true, /dev/null}"
    "{${if eq{$local_part}{gone}{:fail: moved away}{${if eq{$local_part}{wait}{:defer: later}"
    "{${if eq{$local_part}{void}{:blackhole:}{${if eq{$local_part}{typo}{not an address}"
    "{${if eq{$local_part}{self}{self}}}}}}}}}}}}}}\n"
    "nomore:\n driver = redirect\n local_parts = stop\n data = :unknown:\n no_more\n cannot_route_message = stopped here\n"
    "passer:\n driver = manualroute\n local_parts = pass\n route_list = * 127.0.0.1 local\n self = pass\n"
    "prefixed:\n driver = accept\n local_part_prefix = owner- : *+\n local_part_suffix = -request : -*\n"
    " local_part_suffix_optional\n local_parts = team\n transport = local\n"
    "cased:\n driver = accept\n caseful_local_part\n local_parts = Upper\n transport = local\n"
    "dir:\n driver = accept\n local_parts = files\n require_files = /etc : !/no/such/file : ${if eq{a}{b}{/no}fail}\n transport = local\n"
    "nofile:\n driver = accept\n local_parts = nofile\n require_files = /no/such/file\n transport = local\n"
    "relfile:\n driver = accept\n local_parts = relfile\n require_files = no/such\n transport = local\n"
    "cond:\n driver = accept\n local_parts = cond\n condition = 0\n transport = local\n"
    "data_r:\n driver = redirect\n local_parts = data\n address_data = fact\n set = r_x = one\n data = next\n"
    "next_r:\n driver = accept\n local_parts = next\n condition = ${if eq{$address_data/$r_x}{fact/one}}\n transport = local\n"
    "manual:\n driver = manualroute\n transport = local\n"
    " route_list = *.m.example  \"first : second\" ; ^r(.)\\.example$  host$1 ; none.example\n"
    "tap:\n driver = redirect\n local_parts = tapped\n unseen\n data = two, :blackhole:\n"
    "adds:\n driver = redirect\n local_parts = adds\n data = two\n headers_add = X-A: ${nosuch:x}\n"
    "split:\n driver = accept\n local_parts = unseen\n unseen\n transport = local\n"
    "users:\n driver = accept\n domains = l.example\n check_local_user\n transport = local\n"
    "last:\n driver = accept\n domains = h.example : x.example\n local_parts = two : a : b : self : unseen : pass : tapped\n transport = local\n"
    "begin transports\n"
    "local:\n driver = appendfile\n file = /nonexistent/box\n user = nobody\n group = 65534\n";

static struct config *cfg;

static int setup(void **state) {
  (void)state;
  char name[] = "/tmp/t_route.XXXXXX";
  int fd = mkstemp(name);
  assert_true(fd >= 0);
  assert_int_equal(sys_write_all(fd, config_text, sizeof(config_text) - 1), 0);
  close(fd);
  struct readconf_opts o = {.files = name, .from_command_line = true};
  const char *error = NULL;
  cfg = readconf_read(&o, &error);
  unlink(name);
  if (!cfg) fail_msg("%s", error);
  return 0;
}

static void show_list(struct strbuf *b, const char *label, const struct address *list) {
  for (const struct address *p = list; p; p = p->next) {
    strbuf_addf(b, " %s:%s", label, p->address);
    if (strcmp(label, "child") == 0) continue;
    strbuf_addf(b, "/%s", p->router->name);
    if (strcmp(p->local_part, p->lc_local_part) != 0) strbuf_addf(b, "/%s", p->local_part);
    for (const struct host *h = p->host_list; h; h = h->next) strbuf_addf(b, "/%s", h->name);
  }
}

static const char *const result_names[] = {"ok", "decline", "pass", "fail", "defer", "error", "rerouted", "discard"};

static const char *route(struct arena *a, const char *text, const char *sender, int verify) {
  struct expand_ctx x = expand_ctx_new(a, cfg);
  x.sender_override = sender;
  struct address *local = NULL, *remote = NULL, *children = NULL;
  struct route_ctx rc = {.x = &x, .local = &local, .remote = &remote, .children = &children};
  rc.verify = verify;
  struct address *addr = address_new(a, text);
  enum route_result res = route_address(&rc, addr);
  struct strbuf b = strbuf_new(a);
  strbuf_adds(&b, result_names[res]);
  if (res == ROUTE_FAIL || res == ROUTE_DEFER) strbuf_addf(&b, " %s", addr->message);
  show_list(&b, "local", local);
  show_list(&b, "child", children);
  /* A single child is routed too: ancestors and passed-on facts show there. */
  if (children && !children->next && !children->is_pipe) {
    struct address *child = children;
    children = local = NULL;
    res = route_address(&rc, child);
    strbuf_addf(&b, " -> %s", result_names[res]);
    if (res == ROUTE_FAIL || res == ROUTE_DEFER) strbuf_addf(&b, " %s", child->message);
    show_list(&b, "local", local);
  }
  return b.p;
}

static const struct {
  const char *address, *want;
} rows[] = {
    {"nobody@h.example", "fail Unrouteable address"},
    {"two@h.example", "ok local:two@h.example/last"},
    {"two@other.example", "fail Unrouteable address"},
    {"one@h.example", "rerouted child:two@h.example -> ok local:two@h.example/last"},
    {"many@h.example", "rerouted child:a@h.example child:b@x.example child:|/bin/true child:/dev/null"},
    {"gone@h.example", "fail moved away"},
    {"wait@h.example", "defer later"},
    {"void@h.example", "discard"},
    {"typo@h.example", NULL},
    {"self@h.example", "rerouted child:self@h.example -> ok local:self@h.example/last"},
    {"stop@h.example", "fail stopped here"},
    {"owner-team@h.example", "ok local:owner-team@h.example/prefixed/team"},
    {"Owner-Team-Request@h.example", "ok local:Owner-Team-Request@h.example/prefixed/team"},
    {"x+y+team-abc-def@h.example", "ok local:x+y+team-abc-def@h.example/prefixed/team"},
    {"team@h.example", "fail Unrouteable address"},
    {"Upper@h.example", "ok local:Upper@h.example/cased/Upper"},
    {"upper@h.example", "fail Unrouteable address"},
    {"files@h.example", "ok local:files@h.example/dir"},
    {"nofile@h.example", "fail Unrouteable address"},
    {"relfile@h.example", "defer require_files: \"no/such\" is not absolute"},
    {"cond@h.example", "fail Unrouteable address"},
    {"data@h.example", "rerouted child:next@h.example -> ok local:next@h.example/next_r"},
    {"next@h.example", "fail Unrouteable address"},
    {"x@a.m.example", "ok local:x@a.m.example/manual/first : second"},
    {"x@r7.example", "ok local:x@r7.example/manual/host7"},
    {"x@none.example", "ok local:x@none.example/manual"},
    {"unseen@h.example", "rerouted local:unseen@h.example/split child:unseen@h.example -> ok local:unseen@h.example/last"},
    {"tapped@h.example", "discard"},
    {"adds@h.example", "defer adds router failed to expand add_headers item \"X-A: ${nosuch:x}\": unknown expansion operator \"nosuch\""},
    {"onlyverify@h.example", "fail Unrouteable address"},
    {"bysender@h.example", "fail Unrouteable address"},
};

static void test_rows(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    const char *got = route(a, rows[i].address, "who@else.example", VERIFY_NONE);
    if (!rows[i].want) {
      if (strncmp(got, "defer error in redirect data: ", 30) != 0) fail_msg("%s: got %s", rows[i].address, got);
    } else if (strcmp(got, rows[i].want) != 0) {
      fail_msg("%s: got %s want %s", rows[i].address, got, rows[i].want);
    }
    arena_free(a);
  }
}

static void test_modes(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  assert_string_equal(route(a, "onlyverify@h.example", "", VERIFY_RECIPIENT), "ok local:onlyverify@h.example/verify_only_r");
  assert_string_equal(route(a, "onlyverify@h.example", "", VERIFY_TEST), "fail Unrouteable address");
  assert_string_equal(route(a, "bysender@h.example", "list@h.example", VERIFY_NONE), "ok local:bysender@h.example/sender_r");
  assert_string_equal(route(a, "bysender@h.example", "", VERIFY_NONE), "fail Unrouteable address");
  arena_free(a);
}

/* A login name that nobody can look for now is no unknown one: that would bounce. */
static void test_user_not_looked_for(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct passwd_entry pw;
  if (route_look_for_user(a, "games", &pw) != OUTCOME_OK) skip();
  assert_int_equal(route_look_for_user(a, "no-such-user-here", &pw), OUTCOME_FAIL);
  assert_string_equal(route(a, "no-such-user-here@l.example", "", VERIFY_NONE), "fail Unrouteable address");
  struct rlimit before, none;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
  none = (struct rlimit){3, before.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  enum outcome found = route_look_for_user(a, "games", &pw);
  const char *routed = route(a, "games@l.example", "", VERIFY_NONE);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
  assert_int_equal(found, OUTCOME_DEFER);
  assert_string_equal(routed, "defer login name \"games\" cannot be looked for: Too many open files");
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_modes), cmocka_unit_test(test_user_not_looked_for)};
  return cmocka_run_group_tests(tests, setup, NULL);
}
