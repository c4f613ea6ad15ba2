/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies of ident servers (RFC 1413): what the reference program made of them, asked about the connection from port 6193 to 25. */
#include "unit.h"

#include <stdio.h>

#include "formats/ident.h"

static void replies(void **state) {
  (void)state;
  static const struct {
    const char *line, *want; /* NULL: no answer */
  } rows[] = {
    {"6193 , 25 : USERID : UNIX : joe", "joe"},
    {"6193,25:USERID:UNIX:joe", "joe"},
    {"  6193  ,  25  :  USERID  :  OTHER , US-ASCII  :  joe doe", "joe doe"},
    {"6193, 25 : USERID : UNIX : a:b:c  ", "a:b:c  "},
    {"6193, 25 : USERID : OCTET : a\001b\377c", "a\001b\377c"},
    {"6193 , 25 : ERROR : NO-USER", NULL},
    {"25 , 6193 : USERID : UNIX : joe", NULL},
    {"6193 , 25 : USERID : UNIX", NULL},
    {"6193 , 25 : USERID : UNIX : ", NULL},
    {"6193 , 25 : USERID joe", NULL},
    {"6193 , 25", NULL},
    {"6193 25 : USERID : UNIX : joe", NULL},
    {"6193x , 25 : USERID : UNIX : joe", NULL},
    {"99999999999999999999 , 25 : USERID : UNIX : joe", NULL},
    {"hello", NULL},
    {"", NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct str user = STR("untouched");
    bool ok = ident_parse_reply(str_c(rows[i].line), 6193, 25, &user);
    if (ok != (rows[i].want != NULL)) fail_msg("%s: %d", rows[i].line, ok);
    if (!str_eq_c(user, rows[i].want ? rows[i].want : "untouched")) fail_msg("%s: got \"%.*s\"", rows[i].line, STR_FMT(user));
  }
}

static void long_names(void **state) {
  (void)state;
  char line[400] = "6193 , 25 : USERID : UNIX : ";
  struct str user = STR_NULL;
  size_t n = strlen(line);
  memset(line + n, 'x', sizeof(line) - n);
  assert_true(ident_parse_reply(str_n(line, sizeof(line)), 6193, 25, &user));
  assert_int_equal(user.n, IDENT_USER_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(replies), cmocka_unit_test(long_names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
