/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients with TLS that mean no good: the smuggling matrix cut at TLS records (SMG-2), more bytes, encrypted ones too, behind each way TLS can break
 * (PRO-4), clients that stop in the middle, names in the client hello that are none (TLS-5).  Expected: RFC 5321 4.1.1.4, 8446 6.1, 6066 3, 7301. */
#include "smtp_tls_peer.h"
#include "smuggle_pairs.h"

static void put_record(struct peer *p, const void *bytes, size_t n) {
  stream_put(p->io, bytes, n);
  assert_int_equal(stream_flush(p->io, deadline_in_ms(4000)), STREAM_OK);
}

/* ---- SMG-2 over TLS records ----------------------------------------------------------------------------------- */

/* A transaction whose content is cut before the given bytes, each piece in a record of its own; HELP marks its end. */
static void send_pair(struct peer *p, const struct pair_input *in, const size_t *cuts, size_t ncuts) {
  put_record(p, in->in.p, in->content);
  size_t at = in->content;
  for (size_t i = 0; i < ncuts; at = cuts[i++]) put_record(p, in->in.p + at, cuts[i] - at);
  if (at < in->end) put_record(p, in->in.p + at, in->end - at);
  put_record(p, "HELP\r\n", 6);
}

/* Codes of all its replies from the content on. */
static const char *pair_codes(struct peer *p, struct arena *a) {
  for (int i = 0; i < 2; i++) want(reply_in(p, a), "250");
  want(reply_in(p, a), "354");
  struct strbuf codes = strbuf_new(a);
  for (const char *got = ""; strncmp(got, "214", 3) != 0;) {
    got = reply_in(p, a);
    if (!*got) fail_msg("the session has ended after %s", codes.p);
    strbuf_addf(&codes, "%s%.3s", codes.n ? " " : "", got);
  }
  return codes.p;
}

static const char envelope[] = "MAIL FROM:<a@b>\r\nRCPT TO:<gone@test.ex>\r\nDATA\r\n";

/* One pair in one record, cut at each byte, at all bytes, and across the edge of record and read buffer.  What does not reach that edge is sent without
 * waiting in between: the records stay apart. */
static unsigned check_pair(struct peer *p, size_t i, size_t j) {
  enum { RECORD_MAX = 16384 };
  struct arena *a = arena_new("test");
  struct pair_input in = pair_make(a, envelope, i, j, 0);
  size_t *all = ARENA_NEW_N(a, size_t, in.end), n = 0;
  for (size_t k = in.content + 1; k < in.end; k++) all[n++] = k;
  send_pair(p, &in, NULL, 0);
  for (size_t k = 0; k < n; k++) send_pair(p, &in, &all[k], 1);
  send_pair(p, &in, all, n);
  const char *whole = pair_codes(p, a);
  if (in.ends_here) assert_int_equal(strncmp(whole, "250 ", 4), 0);
  else CHECK_STR("content", whole, "250 214");
  for (size_t k = 0; k < n; k++) {
    const char *got = pair_codes(p, a);
    if (strcmp(got, whole) != 0) fail_msg("pair %zu %zu cut %zu: got %s, want %s", i, j, all[k], got, whole);
  }
  CHECK_STR("byte by byte", pair_codes(p, a), whole);
  for (size_t before = 0; before < 8; before++) {
    struct pair_input e = pair_make(a, envelope, i, j, RECORD_MAX - (in.x - in.content) - before);
    send_pair(p, &e, NULL, 0);
    CHECK_STR("edge", pair_codes(p, a), whole);
  }
  arena_free(a);
  return (unsigned)n + 8;
}

static void smuggling_in_records(void **state) {
  (void)state;
  unsigned ending = 0, splits = 0;
  struct peer p = begin("smtp_enforce_sync = false\nsmtp_accept_max_nonmail_hosts =\nsmtp_accept_max_per_connection = 0\n"
                        "smtp_max_unknown_commands = 1000000\nsmtp_max_synprot_errors = 1000000\nlog_selector = -all", false);
  starttls(&p, &plain_client);
  want(say(&p, "EHLO x.example\r\n"), "250");
  for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
    for (size_t j = 0; j < ARRAY_SIZE(ends); j++) {
      splits += check_pair(&p, i, j);
      struct arena *a = arena_new("test");
      ending += pair_make(a, "", i, j, 0).ends_here;
      arena_free(a);
    }
  want(say(&p, "QUIT\r\n"), "221");
  (void)end(&p);
  assert_int_equal(ending, 6);
  assert_true(splits > 81 * 40);
}

/* ---- TLS-2: many bytes in clear around STARTTLS --------------------------------------------------------------------- */

/* In the same segment as STARTTLS, or behind its 220: nothing of it is done, and the session takes nothing any more. */
static void injected_commands(void **state) {
  (void)state;
  static const char command[] = "MAIL FROM:<evil@b.example>\r\n";
  static const size_t sizes[] = {1, 28, 4096, 16384};
  struct config *cfg = read_config("");
  for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
    for (int next = 0; next < 2; next++) {
      (void)unlink(scratch_path("mainlog"));
      struct peer p = begin_with(cfg, false);
      want(reply(&p), "220");
      want(say(&p, "EHLO client.example\r\n"), "250");
      stream_puts(p.io, "STARTTLS\r\n");
      if (next) want(reply(&p), "220");
      for (size_t n = 0; n < sizes[i]; n++) stream_put(p.io, &command[n % (sizeof command - 1)], 1);
      stream_puts(p.io, "\r\nRCPT TO:<x@b.example>\r\n");
      (void)stream_flush(p.io, deadline_in_ms(1000));
      shutdown(p.raw, SHUT_WR);
      for (const char *got = "x"; *got;) {
        got = reply(&p);
        if (strncmp(got, "25", 2) == 0) fail_msg("%zu bytes, %d: %s", sizes[i], next, got);
      }
      const char *log = end(&p);
      if (strstr(log, "ver=")) fail_msg("%zu bytes, %d: %s", sizes[i], next, log);
    }
}

/* ---- PRO-4: encrypted bytes behind the end ---------------------------------------------------------------------- */

/* A client whose records this test writes itself. */
struct raw_client {
  gnutls_certificate_credentials_t cred;
  gnutls_session_t g;
};

static void raw_starttls(struct peer *p, struct raw_client *r) {
  want(reply(p), "220 mx.example");
  want(say(p, "EHLO client.example\r\n"), "250");
  want(say(p, "STARTTLS\r\n"), "220");
  assert_int_equal(gnutls_certificate_allocate_credentials(&r->cred), 0);
  assert_int_equal(gnutls_init(&r->g, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL), 0);
  assert_int_equal(gnutls_set_default_priority(r->g), 0);
  assert_int_equal(gnutls_credentials_set(r->g, GNUTLS_CRD_CERTIFICATE, r->cred), 0);
  gnutls_transport_set_int(r->g, p->raw);
  int rc;
  do rc = gnutls_handshake(r->g);
  while (rc < 0 && !gnutls_error_is_fatal(rc));
  assert_int_equal(rc, 0);
}

static void raw_free(struct raw_client *r) {
  gnutls_deinit(r->g);
  gnutls_certificate_free_credentials(r->cred);
}

/* All that the server says up to a text, or to the end of TLS. */
static const char *raw_read(struct peer *p, struct raw_client *r, const char *until) {
  struct strbuf b = strbuf_new(p->a);
  char buf[2048];
  for (ssize_t n; !until || !strstr(b.p, until);) {
    while ((n = gnutls_record_recv(r->g, buf, sizeof buf)) == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) continue;
    if (n <= 0) break;
    strbuf_add(&b, buf, (size_t)n);
  }
  return b.p;
}

static void raw_write(struct raw_client *r, const char *text, size_t n) {
  while (n > 0) {
    ssize_t done = gnutls_record_send(r->g, text, n);
    if (done < 0 && gnutls_error_is_fatal((int)done)) return; /* the server may have closed by now */
    if (done > 0) text += done, n -= (size_t)done;
  }
}

static const char *const contents[] = {"DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n", "BDAT 14\r\nSubject: x\r\n\r\nBDAT 4 LAST\r\nhi\r\n"};
static const char evil[] = "MAIL FROM:<evil@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\n\r\n.\r\n";

enum tls_end { END_GOODBYE, END_BAD_RECORD, END_CLEAR, END_COUNT };

static void send_end(struct peer *p, struct raw_client *r, enum tls_end how) {
  static const char bad_record[] = "\x17\x03\x03\x00\x20" "0123456789abcdef0123456789abcdef";
  if (how == END_GOODBYE) (void)gnutls_alert_send(r->g, GNUTLS_AL_WARNING, GNUTLS_A_CLOSE_NOTIFY);
  if (how == END_BAD_RECORD) IGNORE_RESULT(send(p->raw, bad_record, sizeof bad_record - 1, MSG_NOSIGNAL));
  if (how == END_CLEAR) IGNORE_RESULT(send(p->raw, "\r\n.\r\n", 5, MSG_NOSIGNAL));
}

static void check_encrypted_rest(struct config *cfg, const char *content, size_t n, enum tls_end how) {
  struct raw_client r;
  (void)unlink(scratch_path("mainlog"));
  struct peer p = begin_with(cfg, false);
  raw_starttls(&p, &r);
  static const char start[] = "EHLO x.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@b.example>\r\n";
  raw_write(&r, start, sizeof start - 1);
  if (!strstr(raw_read(&p, &r, "Accepted"), "Accepted")) fail_msg("no transaction");
  raw_write(&r, content, n);
  send_end(&p, &r, how);
  raw_write(&r, content + n, strlen(content + n));
  raw_write(&r, evil, sizeof evil - 1);
  shutdown(p.raw, SHUT_WR);
  const char *got = raw_read(&p, &r, NULL);
  if (strstr(got, "OK id=")) fail_msg("\"%.*s\" and end %d: %s", (int)n, content, how, got);
  raw_free(&r);
  const char *log = end(&p);
  if (strstr(log, "<=") || strstr(log, "evil")) fail_msg("\"%.*s\" and end %d: %s", (int)n, content, how, log);
}

static void encrypted_bytes_behind_the_end(void **state) {
  (void)state;
  struct config *cfg = read_config("smtp_receive_timeout = 5s\nsmtp_enforce_sync = false");
  for (size_t i = 0; i < ARRAY_SIZE(contents); i++)
    for (size_t n = 1; n < strlen(contents[i]); n++)
      for (int how = 0; how < END_COUNT; how++) check_encrypted_rest(cfg, contents[i], n, (enum tls_end)how);
}

/* PRO-4: a client stops at each byte until its time is over; what it says then, encrypted or in clear, is not heard any more.  All at once. */
static void silence_anywhere(void **state) {
  (void)state;
  static struct peer peers[200];
  struct config *cfg = read_config("smtp_receive_timeout = 1s\nsmtp_enforce_sync = false\nsmtp_accept_max_nonmail_hosts =");
  (void)unlink(scratch_path("mainlog"));
  size_t count = 0;
  for (size_t i = 0; i < ARRAY_SIZE(contents); i++)
    for (size_t n = 1; n < strlen(contents[i]); n++, count++) {
      struct peer *p = &peers[count];
      *p = begin_with(cfg, false);
      starttls(p, &plain_client);
      want(say(p, "EHLO x.example\r\n"), "250");
      want(say(p, "MAIL FROM:<a@b.example>\r\n"), "250");
      want(say(p, "RCPT TO:<c@b.example>\r\n"), "250");
      put_record(p, contents[i], n);
    }
  assert_true(count > 40 && count < ARRAY_SIZE(peers));
  const char *log = "";
  for (size_t k = 0; k < count; k++) {
    struct peer *p = &peers[k];
    const char *got;
    while (*(got = reply(p)) && strncmp(got, "421", 3) != 0) want(got, strstr(got, "chunk") ? "250" : "354");
    want(got, "421 mx.example");
    stream_puts(p->io, evil);
    (void)stream_flush(p->io, deadline_in_ms(100));
    IGNORE_RESULT(send(p->raw, evil, sizeof evil - 1, MSG_NOSIGNAL));
    CHECK_STR("behind the end", reply(p), "");
    log = end(p);
  }
  if (strstr(log, "<=") || strstr(log, "evil")) fail_msg("%s", log);
}

/* ---- TLS-5: names in the client hello ---------------------------------------------------------------------------- */

static void put16(struct strbuf *b, size_t n) {
  strbuf_addc(b, (char)(n >> 8));
  strbuf_addc(b, (char)n);
}

enum { EXT_SNI = 0, EXT_ALPN = 16 };

/* The hello of the library with one extension put in the place of its own; cut into records. */
static struct str hello_with(struct arena *a, unsigned type, struct str data) {
  struct str hello;
  const char *error = NULL;
  struct tls_session *t = tls_client_hello(a, &(struct tls_client_opts){.sni = NULL}, &hello, &error);
  if (!t) fail_msg("%s", error);
  const unsigned char *h = (const unsigned char *)hello.p;
  size_t at = 5 + 4 + 2 + 32;                   /* record, handshake, version, random */
  at += 1u + h[at];                             /* session id */
  at += 2u + ((unsigned)h[at] << 8 | h[at + 1]); /* ciphers */
  at += 1u + h[at];                             /* compression */
  struct strbuf exts = strbuf_new(a), body = strbuf_new(a), out = strbuf_new(a);
  put16(&exts, type);
  put16(&exts, data.n);
  strbuf_add(&exts, data.p, data.n);
  for (size_t e = at + 2; e + 4 <= hello.n;) {
    size_t n = 4u + ((unsigned)h[e + 2] << 8 | h[e + 3]);
    if (((unsigned)h[e] << 8 | h[e + 1]) != type) strbuf_add(&exts, hello.p + e, n);
    e += n;
  }
  assert_true(exts.n <= 65535);
  size_t length = at - 9 + 2 + exts.n;
  strbuf_addc(&body, 1);
  strbuf_addc(&body, (char)(length >> 16));
  put16(&body, length & 0xffff);
  strbuf_add(&body, hello.p + 9, at - 9);
  put16(&body, exts.n);
  strbuf_add(&body, exts.p, exts.n);
  for (size_t from = 0; from < body.n; from += 16384) {
    size_t n = MIN(body.n - from, (size_t)16384);
    strbuf_add(&out, "\x16\x03\x01", 3);
    put16(&out, n);
    strbuf_add(&out, body.p + from, n);
  }
  tls_hello_drop(t);
  return strbuf_str(&out);
}

/* A server name list with one name, whose length is told as given. */
static struct str one_name(struct arena *a, struct str name, size_t told) {
  struct strbuf b = strbuf_new(a);
  put16(&b, MIN(told + 3, (size_t)65535));
  strbuf_addc(&b, 0);
  put16(&b, told);
  strbuf_add(&b, name.p, name.n);
  return strbuf_str(&b);
}

static struct str many_bytes(struct arena *a, char c, size_t n) {
  char *p = arena_alloc(a, n + 1);
  memset(p, c, n);
  p[n] = '\0';
  return str_n(p, n);
}

static const char name_conf[] =
  "tls_crl = ${if def:tls_in_sni {${acl {note_sni}}}}\n"
  "tls_alpn = smtp\n";

/* A session that gets the hello; *ret_type: that of the record that comes back, 0 for none. */
static struct peer greet_with(struct config *cfg, struct str hello, int *ret_type) {
  unsigned char type = 0;
  struct peer p = begin_with(cfg, true);
  for (size_t at = 0; at < hello.n;) {
    ssize_t n = send(p.raw, hello.p + at, hello.n - at, MSG_NOSIGNAL);
    if (n <= 0) break; /* refused by now */
    at += (size_t)n;
  }
  struct pollfd fd = {.fd = p.raw, .events = POLLIN};
  *ret_type = poll(&fd, 1, 4000) > 0 && read(p.raw, &type, 1) == 1 ? type : 0;
  return p;
}

/* The log of all of them.  The last one first: the processes of later sessions hold the connections of earlier ones. */
static const char *end_all(struct peer *peers, size_t n) {
  const char *log = "";
  while (n > 0) log = end(&peers[--n]);
  for (const char *c = log; *c; c++)
    if (!ch_isprint(*c) && *c != '\n') fail_msg("%s", log);
  return log;
}

enum { ALERT = 21, HANDSHAKE = 22 };

/* Nothing but a host name is ever seen as a name; the rest is ignored, or ends the handshake. */
static void names_in_hello(void **state) {
  (void)state;
  struct config *cfg = read_config(name_conf);
  struct arena *a = arena_new("test");
  struct peer peers[32];
  size_t names = 0, called = 0;
  const struct {
    struct str data;
    bool is_name;
  } rows[] = {
    {one_name(a, STR("mx.example"), 10), true},
    {one_name(a, many_bytes(a, 'a', 255), 255), true},
    {one_name(a, STR(""), 0), false},
    {STR(""), false},
    {STR("\0"), false},
    {one_name(a, many_bytes(a, 'a', 256), 256), false},
    {one_name(a, many_bytes(a, 'a', 65000), 65000), false},
    {one_name(a, many_bytes(a, 'a', 10), 65535), false},
    {one_name(a, STR("mx.example"), 255), false},
    {one_name(a, STR("mx.example\\"), 11), false},
    {one_name(a, STR("mx\0.example"), 11), false},
    {one_name(a, STR("mx.example\0"), 11), false},
    {one_name(a, STR("b\xc3\xbc" "cher.example"), 14), false},
    {one_name(a, STR("../../../etc/passwd"), 19), false},
    {one_name(a, STR("a/../b"), 6), false},
    {one_name(a, STR("..\\x"), 4), false},
    {one_name(a, STR("x\r\ny"), 4), false},
    {one_name(a, STR("${run{/bin/true}}"), 17), false},
    {STR("\0\3\5\0\0"), false}, /* a name of no known type */
  };
  (void)unlink(scratch_path("mainlog"));
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    int type;
    peers[i] = greet_with(cfg, hello_with(a, EXT_SNI, rows[i].data), &type);
    if (rows[i].is_name ? type != HANDSHAKE : type != HANDSHAKE && type != ALERT) fail_msg("row %zu: record of type %d", i, type);
    names += rows[i].is_name;
  }
  const char *log = end_all(peers, ARRAY_SIZE(rows));
  for (const char *at = log; (at = strstr(at, "called <")); at++) called++;
  if (called != names || strstr(log, "..") || strchr(log, '\\')) fail_msg("%s", log);
  assert_non_null(strstr(log, "called <mx.example>"));
  assert_non_null(strstr(log, arena_printf(a, "called <%s>", many_bytes(a, 'a', 255).p)));
  arena_free(a);
}

/* The list of protocols, whose length is told as given. */
static struct str protocols(struct arena *a, struct str names, size_t told) {
  struct strbuf b = strbuf_new(a);
  put16(&b, told);
  strbuf_add(&b, names.p, names.n);
  return strbuf_str(&b);
}

static void protocols_in_hello(void **state) {
  (void)state;
  struct config *cfg = read_config(name_conf);
  struct arena *a = arena_new("test");
  struct peer peers[16];
  struct strbuf longest = strbuf_new(a), many = strbuf_new(a);
  strbuf_addc(&longest, (char)255);
  strbuf_add(&longest, many_bytes(a, 's', 255).p, 255);
  while (many.n < 65000) strbuf_add(&many, "\4smtp", 5);
  const struct {
    struct str data;
    int want;
  } rows[] = {
    {protocols(a, STR("\4smtp"), 5), HANDSHAKE},
    {protocols(a, STR(""), 0), ALERT},
    {STR(""), ALERT},
    {protocols(a, STR("\0"), 1), ALERT},
    {protocols(a, strbuf_str(&longest), 256), ALERT},
    {protocols(a, strbuf_str(&many), many.n), ALERT},
    {protocols(a, STR("\4smtp"), 65535), ALERT},
    {protocols(a, STR("\5smtp\\"), 6), ALERT},
    {protocols(a, STR("\5smtp\0"), 6), ALERT},
    {protocols(a, STR("\6sm\xc3\xbctp"), 7), ALERT},
    {protocols(a, STR("\7../smtp"), 8), ALERT},
    {protocols(a, STR("\4smtp\377"), 6), ALERT},
  };
  (void)unlink(scratch_path("mainlog"));
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    int type;
    peers[i] = greet_with(cfg, hello_with(a, EXT_ALPN, rows[i].data), &type);
    if (type != rows[i].want) fail_msg("row %zu: record of type %d", i, type);
  }
  (void)end_all(peers, ARRAY_SIZE(rows));
  arena_free(a);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(smuggling_in_records), cmocka_unit_test(injected_commands), cmocka_unit_test(encrypted_bytes_behind_the_end), cmocka_unit_test(silence_anywhere),
    cmocka_unit_test(names_in_hello), cmocka_unit_test(protocols_in_hello),
  };
  return cmocka_run_group_tests(tests, make_all, drop_all);
}
