/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fixed templates over hostile contents: the input becomes a header, a local part and an ACL argument.  What comes out must be marked
 * tainted whenever it holds input bytes, and no template may see the input as syntax. */
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "policy/expand.h"

static const char *const templates[] = {
  "$h_x:|$bh_x:|$rh_x:|$lh_x:",
  "$message_headers|$message_headers_raw|$reply_address",
  "${address:$h_x:}|${domain:$h_x:}|${local_part:$h_x:}|${addresses:$h_x:}|${addresses:>& $h_x:}",
  "${quote:$acl_arg1}|${quote_local_part:$acl_arg1}|${rxquote:$acl_arg1}|${hexquote:$acl_arg1}",
  "${escape:$acl_arg1}|${escape8bit:$acl_arg1}|${utf8clean:$acl_arg1}|${from_utf8:$acl_arg1}|${xtextd:$acl_arg1}",
  "${rfc2047:$acl_arg1}|${rfc2047d:$acl_arg1}|${headerwrap_20:$acl_arg1}|${uc:$acl_arg1}",
  "${base64:$acl_arg1}|${md5:$acl_arg1}|${sha3:$acl_arg1}|${hash_3:$acl_arg1}|${nhash_8_64:$acl_arg1}",
  "${base64d:$acl_arg1}",
  "${eval:$acl_arg1}",
  "${eval10:$acl_arg1}",
  "${hex2b64:$acl_arg1}",
  "${base32d:$acl_arg1}",
  "${base62d:$acl_arg1}",
  "${time_eval:$acl_arg1}",
  "${mask:$acl_arg1}",
  "${ipv6norm:$acl_arg1}|${ipv6denorm:$acl_arg1}|${reverse_ip:$acl_arg1}",
  "${utf8_domain_to_alabel:$acl_arg1}",
  "${utf8_domain_from_alabel:$acl_arg1}",
  "${extract{key}{$acl_arg1}{<$value>}{no}}|${extract{2}{:,}{$acl_arg1}}|${extract{-2}{ }{$acl_arg1}}",
  "${extract json{key}{$acl_arg1}}",
  "${extract jsons{2}{$acl_arg1}}",
  "${if forany_json{$acl_arg1}{eq{$item}{1}}{y}{n}}",
  "${map{$acl_arg1}{[$item]}}|${filter{$acl_arg1}{!eq{$item}{a}}}|${reduce{$acl_arg1}{}{$value$item}}",
  "${sort{$acl_arg1}{lt}{$item}}|${listextract{-2}{$acl_arg1}}|${listcount:$acl_arg1}|${listquote{:}{$acl_arg1}}",
  "${sg{$acl_arg1}{a*}{<\\$0>}}|${tr{$acl_arg1}{abc}{x}}|${substr_-3_2:$acl_arg1}|${length_3:$acl_arg1}",
  "${if match{$acl_arg1}{^(.*)@(.*)\\$}{$2.$1}{none}}",
  "${if inlist{a}{$acl_arg1}{y}{n}}|${if isip{$acl_arg1}{y}{n}}|${if bool_lax{$acl_arg1}{y}{n}}",
  "${if >{$acl_arg1}{3}{y}{n}}",
  "${if crypteq{abc}{$acl_arg1}{y}{n}}",
  "${prvscheck{$acl_arg1}{secret}{$prvscheck_address}}",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct config cfg;
  if (size < 1 || size > 2048) return 0;
  struct arena *a = arena_new("fuzz");
  cfg.primary_hostname = "mx.test.ex";
  cfg.o.headers_charset = "UTF-8";
  struct message *m = message_new(&cfg);
  const char *text = arena_strndup_t(a, (const char *)data + 1, size - 1, TAINTED);
  struct strbuf b = strbuf_new_t(a, TAINTED, size + 8);
  strbuf_adds(&b, "X: ");
  strbuf_adds(&b, text);
  strbuf_addc(&b, '\n');
  struct header_line line = {.text = b.p, .n = b.n, .type = ' '};
  m->headers = &line;
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  x.msg = m;
  x.s.acl_args[0] = text;
  x.s.acl_narg = 1;
  const char *r = expand_string(&x, templates[data[0] % ARRAY_SIZE(templates)]);
  if (!r && (!x.error || strncmp(x.error, "unknown variable", 16) == 0)) abort();
  if (x.depth != 0) abort();
  if (r && *text && data[0] % ARRAY_SIZE(templates) < 2 && !is_tainted(r)) abort();
  message_free(m);
  arena_free(a);
  return 0;
}
