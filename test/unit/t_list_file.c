/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files in lists: their lines, and that a file which was changed is read again.  Expected: manual ch. 10.3. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/timeutil.h"
#include "policy/list_file.h"

static char path[] = "/tmp/t_list_file.XXXXXX";

static void write_file(const char *text) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
  assert_int_equal(fclose(f), 0);
}

static const struct list_file *get(enum list_kind kind) {
  const struct list_file *f = NULL;
  assert_int_equal(list_file_get(path, kind, &f), 0);
  return f;
}

static int setup(void **state) {
  (void)state;
  int fd = mkstemp(path);
  return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state) {
  (void)state;
  list_file_forget();
  time_set_offset_sec(0);
  return unlink(path);
}

static void test_lines(void **state) {
  (void)state;
  write_file("# all\n a.ex  # one\n! b.ex\n\n^x#y\nlsearch;/f\n+n\n*.c.ex\n@[]\nu@d.ex\n*@d.ex\nu@*.ex\n\"q\"@d.ex");
  static const struct {
    const char *text, *item;
    bool negated, literal, literal_address;
  } rows[] = {{"a.ex", "a.ex", 0, 1, 0}, {"! b.ex", "b.ex", 1, 1, 0}, {"^x", "^x", 0, 0, 0}, {"lsearch;/f", "lsearch;/f", 0, 0, 0},
              {"+n", "+n", 0, 0, 0}, {"*.c.ex", "*.c.ex", 0, 0, 0}, {"@[]", "@[]", 0, 0, 0}, {"u@d.ex", "u@d.ex", 0, 1, 1},
              {"*@d.ex", "*@d.ex", 0, 0, 0}, {"u@*.ex", "u@*.ex", 0, 1, 0}, {"\"q\"@d.ex", "\"q\"@d.ex", 0, 1, 0}};
  const struct list_file *f = get(LIST_DOMAIN);
  assert_int_equal(f->count, ARRAY_SIZE(rows));
  for (size_t i = 0; i < f->count; i++) {
    const struct list_line *l = &f->lines[i];
    CHECK_STR(rows[i].text, l->text, rows[i].text);
    CHECK_STR(rows[i].text, l->item, rows[i].item);
    CHECK_INT(rows[i].text, l->item_n, strlen(rows[i].item));
    CHECK_INT(rows[i].text, l->negated, rows[i].negated);
    CHECK_INT(rows[i].text, l->is_literal, rows[i].literal);
    CHECK_INT(rows[i].text, l->is_literal_address, rows[i].literal_address);
    assert_false(is_tainted(l->text));
  }
  list_file_done(f);
  f = get(LIST_ADDRESS); /* a # within a word is no comment there */
  CHECK_STR("address list", f->lines[2].text, "^x#y");
  list_file_done(f);
}

static void test_changes(void **state) {
  (void)state;
  struct stat st;
  write_file("a.ex\n");
  const struct list_file *first = get(LIST_DOMAIN), *second = get(LIST_DOMAIN);
  assert_ptr_not_equal(first, second); /* changed a moment ago: not kept */
  list_file_done(first);
  list_file_done(second);
  time_set_offset_sec(100);
  first = get(LIST_DOMAIN);
  second = get(LIST_DOMAIN);
  assert_ptr_equal(first, second);
  list_file_done(second);
  assert_int_equal(stat(path, &st), 0);
  write_file("b.ex\n"); /* the same size, and the same time of change as far as one can say so */
  assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){st.st_atim, st.st_mtim}, 0), 0);
  second = get(LIST_DOMAIN);
  CHECK_STR("changed", second->lines[0].item, "b.ex");
  CHECK_STR("in use all the time", first->lines[0].item, "a.ex");
  list_file_done(first);
  list_file_forget();
  CHECK_STR("forgotten, still in use", second->lines[0].item, "b.ex");
  list_file_done(second);
}

static void test_many(void **state) {
  (void)state;
  char own[sizeof path + 8];
  time_set_offset_sec(100);
  for (int i = 0; i < 40; i++) {
    const struct list_file *f;
    (void)snprintf(own, sizeof own, "%s.%d", path, i % 20);
    if (i < 20) assert_int_equal(link(path, own), 0);
    assert_int_equal(list_file_get(own, LIST_HOST, &f), 0);
    assert_int_equal(f->count, 1);
    list_file_done(f);
    if (i >= 20) assert_int_equal(unlink(own), 0);
  }
  const struct list_file *none = NULL;
  assert_int_equal(list_file_get(own, LIST_HOST, &none), -ENOENT);
  assert_null(none);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_changes), cmocka_unit_test(test_many)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
