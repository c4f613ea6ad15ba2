/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AUTH: whole dialogues with the server over memory streams, with their replies and log lines, and the client side of each driver against
 * scripted servers.  Expected texts are those of the reference program on the same configuration, RFC 2195 and RFC 4616. */
#include "unit.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth.h"
#include "formats/codecs.h"
#include "smtp_session.h"

static struct config *cfg;

static const char conf_text[] =
  "primary_hostname = mx.test.ex\n"
  "keep_environment =\n"
  "tls_advertise_hosts =\n"
  "smtp_enforce_sync = false\n"
  "smtp_max_synprot_errors = 20\n"
  "smtp_accept_max_nonmail = 30\n"
  "log_selector = +smtp_protocol_error +smtp_syntax_error\n"
  "acl_smtp_auth = ${if match{$smtp_command_argument}{^DENY}{no}{yes}}\n"
  "acl_smtp_helo = helo\n"
  "acl_smtp_mail = show\n"
  "begin acl\n"
  "yes:\n  accept\n"
  "no:\n  deny message = not you\n"
  "helo:\n  accept condition = ${if eq{$sender_helo_name}{allow}}\n         control = allow_auth_unadvertised\n  accept\n"
  "show:\n  warn logwrite = id=<$authenticated_id> sender=<$authenticated_sender> by=<$sender_host_authenticated> failed=$authentication_failed "
  "fail_id=<$authenticated_fail_id> proto=$received_protocol\n  accept\n"
  "begin authenticators\n"
  "plain:\n  driver = plaintext\n  public_name = PLAIN\n  server_prompts = :\n"
  "  server_condition = ${if and{{eq{$auth2}{userx}}{eq{$3}{secret}}}}\n  server_set_id = $auth2\n"
  "  server_mail_auth_condition = ${if match{$authenticated_sender}{no}{no}{yes}}\n  client_send = ^userx^sec^^ret\n"
  "login:\n  driver = plaintext\n  public_name = login\n  server_prompts = Username:: : Password::\n"
  "  server_condition = ${if and{{eq{$auth1}{userx}}{eq{$auth2}{secret}}}}\n  server_set_id = $auth1\n"
  "  client_send = : userx : p-$auth1-$auth2\n"
  "text:\n  driver = plaintext\n  public_name = TEXT\n  server_condition = $auth1\n  server_set_id = $auth1\n"
  "broken:\n  driver = plaintext\n  public_name = BROKEN\n  server_condition = ${if eq{a}\n  client_send = ${if\n"
  "forced:\n  driver = plaintext\n  public_name = FORCED\n  server_condition = ${if eq{a}{b}{yes}fail}\n  client_send = : u : ${if eq{a}{b}{x}fail}\n"
  "hidden:\n  driver = plaintext\n  public_name = HIDDEN\n  server_advertise_condition = no\n  server_condition = yes\n"
  "cram:\n  driver = cram_md5\n  public_name = CRAM-MD5\n  server_secret = ${if eq{$auth1}{tim}{tanstaaftanstaaf}fail}\n  server_set_id = $auth1\n"
  "  client_name = tim\n  client_secret = tanstaaftanstaaf\n"
  "ext:\n  driver = external\n  public_name = EXTERNAL\n  server_param2 = ${uc:$auth1}\n  server_condition = ${if eq{$auth2}{ME}}\n"
  "  server_set_id = $auth1\n  client_send = me\n"
  "spa:\n  driver = spa\n  public_name = NTLM\n  server_password = ${if eq{$auth1}{user}{secret}fail}\n  server_set_id = $auth1\n"
  "  client_username = user\n  client_password = secret\n"
  "cram0:\n  driver = cram_md5\n  public_name = CRAM0\n  server_secret = ${if eq{$auth1}{tim}{x}}\n"
  "  client_name = mo\n  client_secret = ${if eq{a}{b}{x}}\n"
  "spa0:\n  driver = spa\n  public_name = NTLM0\n  server_password = ${if eq{$auth1}{user}{x}}\n"
  "  client_username = mo\n  client_password = ${if eq{a}{b}{x}}\n"
  "unproved:\n  driver = external\n  public_name = UNPROVED\n  server_param2 = x\n";

/* The mechanisms of the library, where there is one. */
static struct config *gsasl_cfg;
static const char gsasl_conf_text[] =
  "primary_hostname = mx.test.ex\n"
  "keep_environment =\n"
  "begin authenticators\n"
  ".ifdef _DRIVER_AUTHENTICATOR_GSASL\n"
  "gs:\n  driver = gsasl\n  public_name = PLAIN\n  server_password = sec\n  client_username = mo\n  client_password = sec\n"
  "gs0:\n  driver = gsasl\n  public_name = PLAINX\n  server_mech = PLAIN\n  server_password = ${if eq{$auth1}{tim}{x}}\n"
  "gscram0:\n  driver = gsasl\n  public_name = CRAM-MD5\n  server_password = ${if eq{$auth1}{tim}{x}}\n"
  "  client_username = mo\n  client_password = x\n"
  ".endif\n";

static struct config *read_config(const char *name, const char *text) {
  return session_config(name, "spool_directory = %s\nlog_file_path = %s/%%slog\n%s", scratch_dir, scratch_dir, text);
}

static int setup(void **state) {
  if (scratch_setup(state) < 0) return -1;
  gsasl_cfg = read_config("gsasl.conf", gsasl_conf_text);
  cfg = read_config("conf", conf_text);
  if (!gsasl_cfg || !cfg) return -1;
  session_log(cfg);
  log_selector_set(cfg->log_selector);
  return 0;
}

static int teardown(void **state) {
  log_close();
  arena_free(cfg->arena);
  arena_free(gsasl_cfg->arena);
  return scratch_teardown(state);
}

/* ---- the server ---- */

/* The input's lines end in '|'; the output as the client sees it. */
static const char *dialogue(struct arena *a, const char *text) {
  struct strbuf in = strbuf_new(a);
  for (const char *p = text; *p; p++) {
    if (*p == '|') strbuf_adds(&in, "\r\n");
    else strbuf_addc(&in, *p);
  }
  size_t end = in.n;
  return session_run(a, cfg, strbuf_str(&in), &end, 1);
}

/* Replies behind the EHLO, joined by '|'. */
static const char *replies(struct arena *a, const char *out) {
  struct strbuf b = strbuf_new(a);
  struct str rest = str_c(out);
  int finals = 0;
  while (rest.n > 0) {
    struct str line = str_rtrim(str_cut(&rest, '\n'));
    if (finals >= 2) strbuf_addf(&b, "%s%.*s", b.n ? "|" : "", STR_FMT(line));
    else if (line.n >= 4 && line.p[3] == ' ') finals++;
  }
  return b.p;
}

/* The log without time stamps; emptied. */
static const char *take_log(struct arena *a, const char *name) {
  struct strbuf b = strbuf_new(a);
  char buf[8192];
  FILE *f = fopen(scratch_path(name), "r");
  while (f && fgets(buf, sizeof(buf), f)) strbuf_adds(&b, strlen(buf) > 20 ? buf + 20 : buf);
  if (f) fclose(f);
  if (f) assert_int_equal(truncate(scratch_path(name), 0), 0);
  return b.p;
}

#define B(plain) "\1" plain "\2"
/* \1text\2 stands for its base64 form, '~' in it for NUL. */
static const char *coded(struct arena *a, const char *text) {
  struct strbuf b = strbuf_new(a);
  while (*text) {
    if (*text != 1) {
      strbuf_addc(&b, *text++);
      continue;
    }
    size_t n = strcspn(++text, "\2");
    char *raw = arena_strndup(a, text, n);
    for (size_t i = 0; i < n; i++)
      if (raw[i] == '~') raw[i] = 0;
    strbuf_adds(&b, base64_encode(a, raw, n));
    text += n + 1;
  }
  return b.p;
}

#define BYE "|221 mx.test.ex closing connection"
#define FAILED(name, code) name " authenticator failed for (x) [192.0.2.1]: " code

static void test_server(void **state) {
  (void)state;
  static const struct {
    const char *in, *replies, *log;
  } rows[] = {
    {"AUTH PLAIN " B("~userx~secret") "|QUIT|", "235 Authentication succeeded" BYE, ""},
    {"auth plain|" B("~userx~secret") "|QUIT|", "334|235 Authentication succeeded" BYE, ""},
    {"AUTH PLAIN " B("~userx~bad") "|QUIT|", "535 Incorrect authentication data" BYE,
     FAILED("plain", "535 Incorrect authentication data (set_id=userx)\n")},
    {"AUTH PLAIN " B("~user\nx~bad") "|QUIT|", "535 Incorrect authentication data" BYE,
     FAILED("plain", "535 Incorrect authentication data (set_id=user\\nx)\n")},
    {"AUTH PLAIN =|QUIT|", "535 Incorrect authentication data" BYE, FAILED("plain", "535 Incorrect authentication data\n")},
    {"AUTH PLAIN %%%|QUIT|", "501 Invalid base64 data" BYE, FAILED("plain", "501 Invalid base64 data\n")},
    {"AUTH PLAIN|*|QUIT|", "334|501 Authentication cancelled" BYE, FAILED("plain", "501 Authentication cancelled\n")},
    {"AUTH PLAIN|*x|QUIT|", "334|501 Invalid base64 data" BYE, FAILED("plain", "501 Invalid base64 data\n")},
    {"AUTH PLAIN|=|QUIT|", "334|501 Invalid base64 data" BYE, FAILED("plain", "501 Invalid base64 data\n")},
    {"AUTH PLAIN||QUIT|", "334|535 Incorrect authentication data" BYE, FAILED("plain", "535 Incorrect authentication data\n")},
    {"AUTH LOGIN|" B("userx") "|" B("secret") "|QUIT|", "334 VXNlcm5hbWU6|334 UGFzc3dvcmQ6|235 Authentication succeeded" BYE, ""},
    {"AUTH LOGIN " B("userx") "|" B("secret") "|QUIT|", "334 UGFzc3dvcmQ6|235 Authentication succeeded" BYE, ""},
    {"AUTH LOGIN " B("userx~secret") "|QUIT|", "235 Authentication succeeded" BYE, ""},
    {"AUTH LOGIN " B("userx~") "|*|QUIT|", "334 UGFzc3dvcmQ6|501 Authentication cancelled" BYE, FAILED("login", "501 Authentication cancelled\n")},
    {"AUTH LOGIN " B("a~b~c~d~e") "|QUIT|", "535 Incorrect authentication data" BYE,
     FAILED("login", "535 Incorrect authentication data (set_id=a)\n")},
    {"AUTH TEXT " B("hello there") "|QUIT|", "435 Unable to authenticate at present: hello there" BYE,
     FAILED("text", "435 Unable to authenticate at present (set_id=hello there): hello there\n")},
    {"AUTH TEXT " B("no") "|AUTH TEXT " B("yes") "|AUTH TEXT " B("1") "|QUIT|",
     "535 Incorrect authentication data|235 Authentication succeeded|503 already authenticated" BYE,
     FAILED("text", "535 Incorrect authentication data (set_id=no)\n") "SMTP protocol error in \"AUTH TEXT MQ==\" H=(x) [192.0.2.1] already "
     "authenticated\n"},
    {"AUTH BROKEN " B("x") "|QUIT|", "435 Unable to authenticate at present" BYE,
     FAILED("broken", "435 Unable to authenticate at present: missing 2nd string in {} after \"eq\"\n")},
    {"AUTH FORCED " B("x") "|QUIT|", "535 Incorrect authentication data" BYE, FAILED("forced", "535 Incorrect authentication data\n")},
    {"AUTH CRAM-MD5 " B("x") "|QUIT|", "553 Initial data not expected" BYE, FAILED("cram", "553 Initial data not expected\n")},
    {"AUTH EXTERNAL " B("me") "|QUIT|", "235 Authentication succeeded" BYE, ""},
    {"AUTH EXTERNAL|" B("you") "|QUIT|", "334|535 Incorrect authentication data" BYE,
     FAILED("ext", "535 Incorrect authentication data (set_id=you)\n")},
    {"AUTH EXTERNAL|" B("me~too") "|QUIT|", "334|535 Incorrect authentication data" BYE, FAILED("ext", "535 Incorrect authentication data\n")},
    {"AUTH NTLM|*|QUIT|", "334 NTLM supported|501 Authentication cancelled" BYE, FAILED("spa", "501 Authentication cancelled\n")},
    {"AUTH DENY x|QUIT|", "503 not you" BYE, "H=(x) [192.0.2.1] rejected AUTH DENY: not you\n"},
    {"AUTH a%b|AUTH NOSUCH|AUTH HIDDEN " B("x") "|AUTH UNPROVED " B("x") "|QUIT|",
     "501 invalid character in authentication mechanism name|504 NOSUCH authentication mechanism not supported|"
     "504 HIDDEN authentication mechanism not supported|504 UNPROVED authentication mechanism not supported" BYE,
     "SMTP syntax error in \"AUTH a%b\" H=(x) [192.0.2.1] invalid character in authentication mechanism name\n"
     "SMTP protocol error in \"AUTH NOSUCH\" H=(x) [192.0.2.1] NOSUCH authentication mechanism not supported\n"
     "SMTP protocol error in \"AUTH HIDDEN eA==\" H=(x) [192.0.2.1] HIDDEN authentication mechanism not supported\n"
     "SMTP protocol error in \"AUTH UNPROVED eA==\" H=(x) [192.0.2.1] UNPROVED authentication mechanism not supported\n"},
    {"MAIL FROM:<a@b>|AUTH PLAIN " B("~userx~secret") "|QUIT|", "250 OK|503 not permitted in mail transaction" BYE,
     "id=<> sender=<> by=<> failed=0 fail_id=<> proto=esmtp\n"
     "SMTP protocol error in \"AUTH PLAIN AHVzZXJ4AHNlY3JldA==\" H=(x) [192.0.2.1] not permitted in mail transaction\n"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    const char *in = coded(a, arena_printf(a, "EHLO x|%s", rows[i].in));
    CHECK_STR(rows[i].in, replies(a, dialogue(a, in)), rows[i].replies);
    CHECK_STR(rows[i].in, take_log(a, "mainlog"), rows[i].log);
    arena_free(a);
  }
}

/* Who tried is told also where the proof has not the form of one. */
static void test_cram_answers(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  const char *in = coded(a, "EHLO x|AUTH CRAM-MD5|" B("tim 1234") "|AUTH CRAM-MD5|" B("tim") "|AUTH CRAM-MD5|"
                            B("tim 1234567890abcdef1234567890abcdef") "|QUIT|");
  (void)dialogue(a, in);
  CHECK_STR("log", take_log(a, "mainlog"),
            FAILED("cram", "535 Incorrect authentication data (set_id=tim)\n") FAILED("cram", "535 Incorrect authentication data (set_id=tim)\n")
            FAILED("cram", "535 Incorrect authentication data (set_id=tim)\n"));
  arena_free(a);
}

/* The event of a failure: its text stands in the logs instead. */
static void test_event(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  cfg->o.event_action = "${if eq{$event_name}{auth:fail}{mine: $sender_host_authenticated $event_data$authenticated_fail_id}}";
  const char *in = coded(a, "EHLO x|AUTH PLAIN " B("~userx~bad") "|AUTH PLAIN %%|MAIL FROM:<a@b>|QUIT|");
  CHECK_STR("replies", replies(a, dialogue(a, in)), "535 Incorrect authentication data|501 Invalid base64 data|250 OK" BYE);
  CHECK_STR("log", take_log(a, "mainlog"),
            "mine: plain 535 Incorrect authentication data (set_id=userx)\nmine: plain 501 Invalid base64 data\n"
            "id=<> sender=<> by=<> failed=1 fail_id=<> proto=esmtp\n");
  cfg->o.event_action = NULL;
  arena_free(a);
}

static void test_offer(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  const char *out = dialogue(a, coded(a, "EHLO x|AUTH PLAIN " B("~userx~secret") "|EHLO y|AUTH PLAIN x|QUIT|"));
  const char *offer = "250-AUTH PLAIN LOGIN TEXT BROKEN FORCED CRAM-MD5 EXTERNAL NTLM CRAM0 NTLM0\r\n", *first = strstr(out, offer);
  assert_non_null(first);
  assert_null(strstr(first + 1, "250-AUTH")); /* authenticated: nothing more to offer */
  assert_non_null(strstr(first, "503 AUTH command used when not advertised"));
  out = dialogue(a, coded(a, "HELO x|AUTH PLAIN " B("~userx~secret") "|HELO allow|AUTH HIDDEN " B("x") "|QUIT|"));
  assert_non_null(strstr(out, "503 AUTH command used when not advertised"));
  assert_non_null(strstr(out, "235 Authentication succeeded"));
  (void)take_log(a, "mainlog");
  CHECK_STR("reject", take_log(a, "rejectlog") ? "" : "", "");
  arena_free(a);
}

static void test_mail_parameter(void **state) {
  (void)state;
  static const struct {
    const char *in, *log;
  } rows[] = {
    {"AUTH PLAIN " B("~userx~secret") "|MAIL FROM:<a@b> AUTH=c@d|QUIT|",
     "id=<userx> sender=<c@d> by=<plain> failed=0 fail_id=<> proto=esmtpa\n"},
    {"AUTH PLAIN " B("~userx~secret") "|MAIL FROM:<a@b> AUTH=c+2Bd@e|RSET|MAIL FROM:<a@b>|QUIT|",
     "id=<userx> sender=<c+d@e> by=<plain> failed=0 fail_id=<> proto=esmtpa\nid=<userx> sender=<> by=<plain> failed=0 fail_id=<> proto=esmtpa\n"},
    {"AUTH PLAIN " B("~userx~secret") "|MAIL FROM:<a@b> AUTH=<>|QUIT|", "id=<userx> sender=<> by=<plain> failed=0 fail_id=<> proto=esmtpa\n"},
    {"AUTH PLAIN " B("~userx~secret") "|MAIL FROM:<a@b> AUTH=no@d|QUIT|",
     "ignoring AUTH=no@d from H=(x) [192.0.2.1] (server_mail_auth_condition failed: authenticated ID=\"userx\")\n"
     "id=<userx> sender=<> by=<plain> failed=0 fail_id=<> proto=esmtpa\n"},
    {"AUTH PLAIN " B("~userx~bad") "|MAIL FROM:<a@b> AUTH=c@d|QUIT|",
     FAILED("plain", "535 Incorrect authentication data (set_id=userx)\n")
     "ignoring AUTH=c@d from H=(x) [192.0.2.1] (client not authenticated)\nid=<> sender=<> by=<> failed=1 fail_id=< (set_id=userx)> proto=esmtp\n"},
    {"MAIL FROM:<a@b> AUTH=a+0Ab|QUIT|", "SMTP syntax error in \"MAIL FROM:<a@b> AUTH=a+0Ab\" H=(x) [192.0.2.1] invalid data for AUTH\n"},
    {"MAIL FROM:<a@b> AUTH=a+4|QUIT|", "SMTP syntax error in \"MAIL FROM:<a@b> AUTH=a+4\" H=(x) [192.0.2.1] invalid data for AUTH\n"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    (void)dialogue(a, coded(a, arena_printf(a, "EHLO x|%s", rows[i].in)));
    CHECK_STR(rows[i].in, take_log(a, "mainlog"), rows[i].log);
    arena_free(a);
  }
}

/* The connection ends, or nothing comes, in the middle: the session ends, nobody is authenticated. */
static void test_cut(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  static const char *const cut[] = {"EHLO x|AUTH PLAIN|", "EHLO x|AUTH LOGIN|dXNlcng=|", "EHLO x|AUTH CRAM-MD5|", "EHLO x|AUTH NTLM|"};
  for (size_t i = 0; i < ARRAY_SIZE(cut); i++) {
    const char *out = dialogue(a, cut[i]);
    assert_null(strstr(out, "\n235"));
    assert_non_null(strstr(out, "421 mx.test.ex lost input connection"));
  }
  (void)take_log(a, "mainlog");
  arena_free(a);
}

/* ---- the client ---- */

struct script {
  const char *const *replies; /* coded; NULL at the end: the connection is lost */
  struct strbuf said;
};

static enum auth_status speak(struct auth_client *c, const char *line) {
  struct script *s = c->ctx;
  strbuf_addf(&s->said, "%s%s", s->said.n ? "|" : "", line);
  if (!*s->replies) return AUTH_LOST;
  c->reply = coded(c->x->a, *s->replies++);
  c->challenge = strlen(c->reply) > 4 ? c->reply + 4 : "";
  switch (*c->reply) {
    case '2': return AUTH_OK;
    case '3': return AUTH_MORE;
    case '5': return AUTH_FAIL;
    default: return AUTH_DEFER;
  }
}

static void test_client(void **state) {
  (void)state;
  static const struct {
    const char *name, *replies[6];
    enum auth_status want;
    const char *said, *error;
  } rows[] = {
    {"plain", {"235 ok"}, AUTH_OK, "AUTH PLAIN " B("~userx~sec^ret"), NULL},
    {"plain", {"535 no"}, AUTH_FAIL, "AUTH PLAIN " B("~userx~sec^ret"), NULL},
    {"plain", {"454 later"}, AUTH_DEFER, "AUTH PLAIN " B("~userx~sec^ret"), NULL},
    {"plain", {NULL}, AUTH_LOST, "AUTH PLAIN " B("~userx~sec^ret"), NULL},
    {"plain", {"334 " B("more?")}, AUTH_MORE, "AUTH PLAIN " B("~userx~sec^ret"), NULL},
    {"login", {"334 " B("one"), "334 " B("two"), "235 ok"}, AUTH_OK, "AUTH login|" B("userx") "|" B("p-one-two"), NULL},
    {"login", {"334 " B("one"), "235 early"}, AUTH_OK, "AUTH login|" B("userx"), NULL},
    {"login", {"334 User?", "501 fine"}, AUTH_CANCELLED, "AUTH login|*", "Invalid base64 string in server response \"334 User?\""},
    {"broken", {NULL}, AUTH_DEFER, "", "expansion of \"${if\" failed in broken authenticator: condition name expected, but found \"\""},
    {"forced", {"334 ", "334 ", "501 fine"}, AUTH_SKIP, "AUTH FORCED|" B("u") "|*", NULL},
    {"cram", {"334 " B("<1896.697170952@postoffice.reston.mci.net>"), "235 ok"}, AUTH_OK,
     "AUTH CRAM-MD5|" B("tim b913a602c7eda7a495b4e6e7334d3890"), NULL},
    {"cram", {"334 x!"}, AUTH_DEFER, "AUTH CRAM-MD5", "bad base 64 string in challenge:  CRAM-MD5"},
    {"ext", {"235 ok"}, AUTH_OK, "AUTH EXTERNAL " B("me"), NULL},
    {"ext", {"334 ", "235 ok"}, AUTH_OK, "AUTH EXTERNAL " B("me") "|" B("me"), NULL},
    {"spa", {"334 NTLM supported", "334 " B("NTLMSSP"), "501 fine"}, AUTH_CANCELLED, NULL, "malformed NTLM challenge"},
    {"spa", {"504 no"}, AUTH_FAIL, "AUTH NTLM", NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    const struct auth_instance *au = cfg->auths;
    while (strcmp(au->name, rows[i].name) != 0) au = au->next;
    struct expand_ctx x = expand_ctx_new(a, cfg);
    struct script s = {rows[i].replies, strbuf_new(a)};
    struct auth_client c = {.i = au, .x = &x, .speak = speak, .ctx = &s};
    assert_true(au->is_client);
    CHECK_INT(rows[i].name, au->driver->client(&c), rows[i].want);
    if (rows[i].said) CHECK_STR(rows[i].name, s.said.p, coded(a, rows[i].said));
    CHECK_STR(rows[i].name, c.error ? c.error : "", rows[i].error ? rows[i].error : "");
    arena_free(a);
  }
}

/* ---- both drivers of a kind against each other ---- */

struct pair {
  const struct auth_instance *au;
  struct expand_ctx x;
  const char *challenges[4], *answers[4];
  int asked, known;
  enum auth_status verdict;
};

/* The server is run anew with all answers so far until it asks for one that is not there yet; so challenges must be the same each time. */
static enum auth_status ask(struct auth_server *s, const char *challenge64, const char **ret) {
  struct pair *p = s->ctx;
  p->challenges[p->asked] = challenge64;
  if (p->asked == p->known) return AUTH_LOST;
  *ret = p->answers[p->asked++];
  return AUTH_OK;
}

static enum auth_status answer_client(struct auth_client *c, const char *line) {
  struct pair *p = c->ctx;
  if (strncmp(line, "AUTH ", 5) != 0) p->answers[p->known++] = line;
  struct auth_server s = {.i = p->au, .x = &p->x, .ask = ask, .ctx = p};
  p->asked = 0;
  p->verdict = p->au->driver->server(&s);
  c->reply = c->challenge = "";
  if (p->verdict == AUTH_LOST) {
    c->challenge = p->challenges[p->asked];
    return AUTH_MORE;
  }
  return p->verdict == AUTH_OK ? AUTH_OK : AUTH_FAIL;
}

static void test_cram_pair(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct pair p = {.au = cfg->auths, .x = expand_ctx_new(a, cfg)};
  while (strcmp(p.au->name, "cram") != 0) p.au = p.au->next;
  cfg->harness_mode = true; /* one and the same challenge */
  struct expand_ctx x = expand_ctx_new(a, cfg);
  struct auth_client c = {.i = p.au, .x = &x, .speak = answer_client, .ctx = &p};
  CHECK_INT("cram", p.au->driver->client(&c), AUTH_OK);
  CHECK_STR("user", p.x.auth_vars[0], "tim");
  cfg->harness_mode = false;
  struct auth_client again = {.i = p.au, .x = &x, .speak = answer_client, .ctx = &p};
  p.known = 0; /* the challenge the client answered is not the one the server checks: an overheard answer is worth nothing */
  CHECK_INT("replay", p.au->driver->client(&again), AUTH_FAIL);
  arena_free(a);
}

/* ---- the two sides in two processes ---- */

static const char *read_line(struct arena *a, int fd) {
  struct strbuf b = strbuf_new(a);
  char c;
  ssize_t r;
  while ((r = read(fd, &c, 1)) == 1 && c != '\n') strbuf_addc(&b, c);
  return r == 1 ? b.p : NULL;
}

static enum auth_status ask_over(struct auth_server *s, const char *challenge64, const char **ret) {
  int fd = *(int *)s->ctx;
  if (dprintf(fd, "%s\n", challenge64) < 0) return AUTH_LOST;
  *ret = read_line(s->x->a, fd);
  return !*ret ? AUTH_LOST : strcmp(*ret, "*") == 0 ? AUTH_CANCELLED : AUTH_OK;
}

static enum auth_status speak_over(struct auth_client *c, const char *line) {
  int fd = *(int *)c->ctx;
  const char *data = strncmp(line, "AUTH ", 5) == 0 ? strchr(line + 5, ' ') : NULL;
  if (strncmp(line, "AUTH ", 5) == 0) line = data ? data + 1 : "-";
  if (dprintf(fd, "%s\n", line) < 0) return AUTH_LOST;
  c->reply = c->challenge = read_line(c->x->a, fd);
  return c->challenge ? AUTH_MORE : AUTH_LOST;
}

static enum auth_status meet(const struct auth_instance *au) {
  int fds[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  pid_t pid = fork();
  struct arena *a = arena_new("t");
  struct expand_ctx x = expand_ctx_new(a, cfg);
  close(fds[pid != 0]);
  if (pid == 0) {
    struct auth_client c = {.i = au, .x = &x, .speak = speak_over, .ctx = &fds[1]};
    (void)au->driver->client(&c);
    _exit(0);
  }
  struct auth_server s = {.i = au, .x = &x, .ask = ask_over, .ctx = &fds[0]};
  const char *first = read_line(a, fds[0]);
  assert_non_null(first);
  s.initial = strcmp(first, "-") == 0 ? NULL : first;
  enum auth_status st = au->driver->server(&s);
  close(fds[0]);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  arena_free(a);
  return st;
}

/* A lookup that finds nothing gives an empty secret: knowing that lets nobody in. */
static void test_empty_secret(void **state) {
  (void)state;
  static const struct {
    const char *name;
    enum auth_status want;
  } rows[] = {{"cram", AUTH_OK}, {"spa", AUTH_OK}, {"gs", AUTH_OK}, {"cram0", AUTH_FAIL}, {"spa0", AUTH_FAIL}, {"gscram0", AUTH_FAIL}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const struct auth_instance *au = rows[i].name[0] == 'g' ? gsasl_cfg->auths : cfg->auths;
    while (au && strcmp(au->name, rows[i].name) != 0) au = au->next;
    if (au) CHECK_INT(rows[i].name, meet(au), rows[i].want);
    else assert_true(rows[i].name[0] == 'g'); /* built without the library */
  }
  struct arena *a = arena_new("t");
  for (const struct auth_instance *au = gsasl_cfg->auths; au; au = au->next) {
    struct expand_ctx x = expand_ctx_new(a, gsasl_cfg);
    struct auth_server s = {.i = au, .x = &x, .initial = base64_encode(a, "\0mo\0", 4)};
    if (strcmp(au->name, "gs0") == 0) CHECK_INT("gs0", au->driver->server(&s), AUTH_FAIL);
  }
  arena_free(a);
}

static void test_variables(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct expand_ctx x = expand_ctx_new(a, cfg);
  int n = 0;
  auth_set_data(&x, STR("a\0\0b"), &n);
  CHECK_INT("count", n, 3);
  CHECK_STR("vars", expand_string(&x, "$auth1,$auth2,$auth3,$1,$2,$3"), "a,,b,a,,b");
  auth_set_data(&x, STR(""), &n);
  CHECK_INT("count", n, 4);
  char many[100] = {0};
  auth_set_data(&x, str_n(many, sizeof many), &n); /* more than there are variables */
  CHECK_INT("captures", x.s.ncaptures, EXPAND_MAX_CAPTURES);
  auth_clear_vars(&x);
  CHECK_STR("vars", expand_string(&x, "$auth1,$1"), ",");
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_server),    cmocka_unit_test(test_event), cmocka_unit_test(test_cram_answers), cmocka_unit_test(test_offer),
    cmocka_unit_test(test_mail_parameter), cmocka_unit_test(test_cut),
    cmocka_unit_test(test_client),    cmocka_unit_test(test_cram_pair), cmocka_unit_test(test_variables),
    cmocka_unit_test(test_empty_secret),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
