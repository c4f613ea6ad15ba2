/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NTLM messages: reading and writing them.
 *
 * Floor: formats; pure.  Whatever is read came from the network: every offset and length is checked against the message before it is used,
 * and only fields that are used are looked at.  MS-NLMP sections 2.2.1.1 to 2.2.1.3, 2.2.2. */
#include "formats/ntlm.h"

static const char signature[8] = {'N', 'T', 'L', 'M', 'S', 'S', 'P', '\0'};

/* ---- reading ---- */

static uint32_t get32(struct str m, size_t at) {
  const unsigned char *p = (const unsigned char *)m.p + at;
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t get16(struct str m, size_t at) {
  const unsigned char *p = (const unsigned char *)m.p + at;
  return p[0] | (uint32_t)p[1] << 8;
}

static bool is_message(struct str m, uint32_t type, size_t fixed) {
  return m.n >= fixed && m.n <= NTLM_MESSAGE_MAX && memcmp(m.p, signature, sizeof(signature)) == 0 && get32(m, 8) == type;
}

/* The field whose length and offset stand at `at`. */
static bool get_field(struct str m, size_t at, struct str *ret) {
  size_t n = get16(m, at), offset = get32(m, at + 4);
  *ret = STR("");
  if (n == 0) return true;
  if (offset > m.n || n > m.n - offset) return false;
  *ret = str_n(m.p + offset, n);
  return true;
}

bool ntlm_parse_challenge(struct str m, struct ntlm_challenge *ret) {
  enum { FIXED = 32, WITH_INFO = 48 };
  struct ntlm_challenge c = {.target_info = STR("")};
  if (!is_message(m, 2, FIXED)) return false;
  c.flags = get32(m, 20);
  memcpy(c.nonce, m.p + 24, NTLM_NONCE);
  if (c.flags & NTLM_TARGET_INFO && (m.n < WITH_INFO || !get_field(m, 40, &c.target_info))) return false;
  *ret = c;
  return true;
}

bool ntlm_parse_authenticate(struct str m, struct ntlm_authenticate *ret) {
  enum { FIXED = 52, WITH_FLAGS = 64 };
  struct ntlm_authenticate a = {.flags = NTLM_UNICODE};
  if (!is_message(m, 3, FIXED)) return false;
  if (!get_field(m, 12, &a.lm) || !get_field(m, 20, &a.nt) || !get_field(m, 28, &a.domain) || !get_field(m, 36, &a.user) ||
      !get_field(m, 44, &a.workstation))
    return false;
  if (m.n >= WITH_FLAGS) a.flags = get32(m, 60);
  *ret = a;
  return true;
}

const char *ntlm_text(struct arena *a, struct str field, uint32_t flags) {
  struct strbuf b = strbuf_new_t(a, is_tainted(field.p) ? TAINTED : UNTAINTED, field.n + 1);
  size_t width = flags & NTLM_UNICODE ? 2 : 1;
  if (field.n % width) return NULL;
  for (size_t i = 0; i < field.n; i += width) {
    uint32_t c = width == 1 ? (unsigned char)field.p[i] : get16(field, i);
    if (width == 2 && c >= 0xd800 && c < 0xe000) {
      uint32_t low = i + 4 <= field.n ? get16(field, i + 2) : 0;
      if (c >= 0xdc00 || low < 0xdc00 || low >= 0xe000) return NULL;
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
      i += 2;
    }
    if (c < 32 || c == 127) return NULL;
    strbuf_add_utf8(&b, c);
  }
  return b.p;
}

/* One character of text at *p, which moves behind it; a byte that begins none stands for itself. */
static uint32_t next_char(const char **p) {
  uint32_t v = (unsigned char)**p;
  size_t len = utf8_next(str_c(*p), &v);
  *p += len ? len : 1;
  return v;
}

static void put16(struct strbuf *b, uint32_t v) {
  strbuf_addc(b, (char)(v & 0xff));
  strbuf_addc(b, (char)(v >> 8 & 0xff));
}

static void put32(struct strbuf *b, uint32_t v) {
  put16(b, v & 0xffff);
  put16(b, v >> 16);
}

struct str ntlm_utf16(struct arena *a, const char *text) {
  struct strbuf b = strbuf_new_t(a, is_tainted(text) ? TAINTED : UNTAINTED, 2 * strlen(text) + 1);
  const char *p = text;
  while (*p) {
    uint32_t c = next_char(&p);
    if (c >= 0x10000) {
      put16(&b, 0xd800 + ((c - 0x10000) >> 10));
      c = 0xdc00 + ((c - 0x10000) & 0x3ff);
    }
    put16(&b, c);
  }
  return strbuf_str(&b);
}

/* ---- writing ---- */

static void put_head(struct strbuf *b, uint32_t type) {
  strbuf_add(b, signature, sizeof(signature));
  put32(b, type);
}

/* Length, room and offset of a field that will stand at *at. */
static void put_field(struct strbuf *b, struct str value, uint32_t *at) {
  put16(b, (uint32_t)value.n);
  put16(b, (uint32_t)value.n);
  put32(b, *at);
  *at += (uint32_t)value.n;
}

void ntlm_put_negotiate(struct strbuf *b) {
  uint32_t at = 32;
  put_head(b, 1);
  put32(b, NTLM_UNICODE | NTLM_OEM | NTLM_REQUEST_TARGET | NTLM_NTLM | NTLM_ALWAYS_SIGN);
  put_field(b, STR(""), &at);
  put_field(b, STR(""), &at);
}

void ntlm_put_challenge(struct strbuf *b, const unsigned char nonce[NTLM_NONCE]) {
  static const char zeros[16];
  put_head(b, 2);
  put32(b, 0);          /* no target name; */
  put32(b, 40u << 8);   /* its offset, where there is nothing */
  put32(b, NTLM_UNICODE | NTLM_NTLM | NTLM_ALWAYS_SIGN);
  strbuf_add(b, (const char *)nonce, NTLM_NONCE);
  strbuf_add(b, zeros, sizeof(zeros));
}

void ntlm_put_authenticate(struct strbuf *b, const struct ntlm_authenticate *m) {
  uint32_t at = 64;
  put_head(b, 3);
  put_field(b, m->lm, &at);
  put_field(b, m->nt, &at);
  put_field(b, m->domain, &at);
  put_field(b, m->user, &at);
  put_field(b, m->workstation, &at);
  put_field(b, STR(""), &at); /* no session key */
  put32(b, m->flags);
  strbuf_addstr(b, m->lm);
  strbuf_addstr(b, m->nt);
  strbuf_addstr(b, m->domain);
  strbuf_addstr(b, m->user);
  strbuf_addstr(b, m->workstation);
}
