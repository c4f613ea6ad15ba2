/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arenas: alignment, zeroing, marks, growth, taint through copies and printf, recycling of tainted chunks. */
#include "unit.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/arena_priv.h"
#include "base/str.h"
#include "base/vec.h"

static void test_alloc_is_zeroed_and_aligned(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  for (size_t n = 0; n < 40000; n = n * 2 + 1) {
    for (enum taint t = UNTAINTED; t <= TAINTED; t++) {
      unsigned char *p = arena_alloc_t(a, n, t);
      assert_int_equal((uintptr_t)p % 16, 0);
      assert_int_equal(is_tainted(p), t == TAINTED);
      for (size_t i = 0; i < n; i++) {
        assert_int_equal(p[i], 0);
      }
      memset(p, 0xee, n);
    }
  }
  arena_free(a);
  arena_free(NULL);
}

static void test_mark_and_release(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  char *kept = arena_strdup(a, "kept");
  char *kept_tainted = arena_strdup_t(a, "kept too", TAINTED);
  struct arena_mark mark = arena_mark(a);
  size_t used = arena_used_bytes(a);
  for (int round = 0; round < 50; round++) {
    for (int i = 0; i < 100; i++) {
      memset(arena_alloc_t(a, (size_t)i * 97, i % 2 ? TAINTED : UNTAINTED), 0x55, (size_t)i * 97);
    }
    arena_release(a, mark);
    assert_int_equal(arena_used_bytes(a), used);
  }
  assert_string_equal(kept, "kept");
  assert_string_equal(kept_tainted, "kept too");
  unsigned char *fresh = arena_alloc(a, 5000);
  for (int i = 0; i < 5000; i++) {
    assert_int_equal(fresh[i], 0);
  }
  arena_free(a);
}

static void test_release_to_empty(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct arena_mark mark = arena_mark(a);
  for (int i = 0; i < 20; i++) {
    arena_alloc(a, 100000);
    arena_alloc_t(a, 3, TAINTED);
    arena_release(a, mark);
    assert_int_equal(arena_used_bytes(a), 0);
  }
  arena_free(a);
}

static void test_tainted_chunks_are_recycled(void **state) {
  (void)state;
  /* Far more than the whole range, were nothing given back. */
  for (int i = 0; i < 2000; i++) {
    struct arena *a = arena_new("test");
    char *p = arena_alloc_t(a, (size_t)64 << 20, TAINTED);
    p[0] = p[((size_t)64 << 20) - 1] = 1;
    assert_true(is_tainted(p + ((size_t)64 << 20) - 1));
    arena_free(a);
    if (i == 3) {
      i = 1990;
    }
  }
}

static void test_extend(void **state) {
  (void)state;
#ifdef EXIM_ARENA_DEBUG
  skip(); /* allocations never grow in place there */
#endif
  struct arena *a = arena_new("test");
  char *first = arena_alloc(a, 10);
  assert_true(arena_extend(a, first, 10, 100));
  for (int i = 0; i < 100; i++) {
    assert_int_equal(first[i], 0);
  }
  char *second = arena_alloc(a, 10);
  assert_true(second >= first + 100);
  assert_false(arena_extend(a, first, 100, 200));
  assert_false(arena_extend(a, second, 10, (size_t)1 << 40));
  arena_free(a);
}

static void test_copies_keep_taint(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  char *clean = arena_strdup(a, "clean");
  char *dirty = arena_strdup_t(a, "dirty", TAINTED);
  assert_false(is_tainted(clean));
  assert_false(is_tainted("literal"));
  assert_false(is_tainted(NULL));
  assert_true(is_tainted(dirty));
  assert_true(is_tainted(dirty + 3));
  assert_true(is_tainted(arena_strdup(a, dirty)));
  char *part = arena_strndup(a, dirty, 3);
  assert_true(is_tainted(part));
  assert_string_equal(part, "dir");
  assert_false(is_tainted(arena_strdup_t(a, clean, UNTAINTED)));
  char *cleaned = arena_untaint_copy(a, dirty, 5);
  assert_false(is_tainted(cleaned));
  assert_string_equal(cleaned, "dirty");
  assert_true(is_tainted(str_dup_lower(a, str_c(dirty))));
  assert_string_equal(arena_strndup(a, NULL, 0), "");
  arena_free(a);
}

static void test_printf(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  char *dirty = arena_strdup_t(a, "dirty", TAINTED);
  struct {
    char *got;
    const char *want;
    bool tainted;
  } rows[] = {
      {arena_printf(a, "plain"), "plain", false},
      {arena_printf(a, "%s", "x"), "x", false},
      {arena_printf(a, "%s", dirty), "dirty", true},
      {arena_printf(a, "%d %5u %-5lu| %lld %zu %s", 1, 2u, 3ul, 4ll, (size_t)5, dirty),
       "1     2 3    | 4 5 dirty", true},
      {arena_printf(a, "%c%x%X%o%%%hhu", 'a', 255u, 255u, 8u, (unsigned char)3), "affFF10%3", false},
      {arena_printf(a, "%f %g %.3e %*d %s", 1.5, 2.5, 100.0, 4, 7, dirty),
       "1.500000 2.5 1.000e+02    7 dirty", true},
      {arena_printf(a, "%.*s-%-*s-", 2, dirty, 3, "ab"), "di-ab -", true},
      {arena_printf(a, "%.*s %s", 0, "", "x"), " x", false},
      {arena_printf(a, "%%s %+d %05d %#x", 3, 42, 10u), "%s +3 00042 0xa", false},
      {arena_printf_t(a, TAINTED, "%d", 3), "3", true},
      {arena_printf_t(a, UNTAINTED, "%s", dirty), "dirty", false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    CHECK_STR("text", rows[i].got, rows[i].want);
    CHECK_INT(rows[i].want, is_tainted(rows[i].got), rows[i].tainted);
  }
  char *longer = arena_printf(a, "%2000d%s", 1, dirty);
  assert_int_equal(strlen(longer), 2005);
  assert_true(is_tainted(longer));
  assert_string_equal(longer + 1999, "1dirty");
  arena_free(a);
}

/* Quoted text is tainted, its kind goes into copies and grows in place; of text of two kinds plain taint is left.  A quoted chunk that was given back is
 * used again for the same kind only. */
static void test_quoted(void **state) {
  (void)state;
  for (enum taint t = TAINTED; t < TAINT_KINDS; t++) {
    struct arena *a = arena_new("quoted");
    char *text = arena_strdup_t(a, "text", t);
    assert_true(is_tainted(text));
    assert_int_equal(taint_kind(text), t);
    assert_int_equal(taint_kind(arena_strdup(a, text)), t);
    assert_int_equal(taint_kind(arena_printf(a, "a %s %s", "b", text)), t);
    assert_int_equal(taint_kind(arena_printf(a, "%s%s", text, arena_strdup_t(a, "x", TAINTED))), TAINTED);
    assert_int_equal(taint_kind(arena_untaint_copy(a, text, 4)), UNTAINTED);
    struct arena_mark mark = arena_mark(a);
    for (int i = 0; i < 20; i++) assert_int_equal(taint_kind(arena_alloc_t(a, 100000, t)), t);
    arena_release(a, mark);
    arena_free(a);
    a = arena_new("after");
    for (enum taint u = UNTAINTED; u < TAINT_KINDS; u++)
      for (int i = 0; i < 20; i++) assert_int_equal(taint_kind(arena_alloc_t(a, 100000, u)), u);
    arena_free(a);
  }
  assert_int_equal(taint_kind("literal"), UNTAINTED);
  assert_int_equal(taint_of_both(UNTAINTED, TAINTED_QUOTED), TAINTED_QUOTED);
  assert_int_equal(taint_of_both(TAINTED_QUOTED, UNTAINTED), TAINTED_QUOTED);
  assert_int_equal(taint_of_both(TAINTED_QUOTED, TAINTED), TAINTED);
  assert_int_equal(taint_of_both(TAINTED_QUOTED, TAINTED_QUOTED + 1), TAINTED);
}

/* Run fn in a child; returns its wait status. */
static int status_of(void (*fn)(void)) {
  pid_t pid = fork();
  if (pid == 0) {
    if (!freopen("/dev/null", "w", stderr)) {
      _exit(1);
    }
    fn();
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

static void overflow_mul(void) {
  (void)size_mul(SIZE_MAX / 2, 3);
}

static void overflow_add(void) {
  (void)size_add(SIZE_MAX, 1);
}

static void break_invariant(void) {
  INVARIANT(1 == 2);
}

static void test_overflow_ends_the_process(void **state) {
  (void)state;
  assert_int_equal(size_mul(6, 7), 42);
  assert_int_equal(size_add(6, 7), 13);
  assert_int_equal(WEXITSTATUS(status_of(overflow_mul)), 71);
  assert_int_equal(WEXITSTATUS(status_of(overflow_add)), 71);
  assert_true(WIFSIGNALED(status_of(break_invariant)));
}

#ifdef __has_feature
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

static void write_behind(enum taint t) {
  struct arena *a = arena_new("test");
  volatile char *p = arena_alloc_t(a, 33, t);
  p[33] = 1;
}

static void write_after_release(enum taint t) {
  struct arena *a = arena_new("test");
  struct arena_mark mark = arena_mark(a);
  volatile char *p = arena_alloc_t(a, 33, t);
  arena_release(a, mark);
  p[0] = 1;
}

UNUSED static void overrun_clean(void) { write_behind(UNTAINTED); }
UNUSED static void overrun_tainted(void) { write_behind(TAINTED); }
UNUSED static void use_released_clean(void) { write_after_release(UNTAINTED); }
UNUSED static void use_released_tainted(void) { write_after_release(TAINTED); }

/* The sanitizer build is worth its time only if it sees faults inside arenas. */
static void test_sanitizer_sees_faults(void **state) {
  (void)state;
#if defined(EXIM_ARENA_DEBUG) && defined(__SANITIZE_ADDRESS__)
  assert_int_not_equal(status_of(overrun_clean), 0);
  assert_int_not_equal(status_of(overrun_tainted), 0);
  assert_int_not_equal(status_of(use_released_clean), 0);
  assert_int_not_equal(status_of(use_released_tainted), 0);
#else
  skip();
#endif
}

/* Runs last: the switch stays on. */
static void test_released_memory_is_wiped(void **state) {
  (void)state;
#ifdef EXIM_ARENA_DEBUG
  skip();
#else
  struct arena *a = arena_new("test");
  arena_wipe_released();
  for (enum taint t = UNTAINTED; t <= TAINTED; t++) {
    struct arena_mark m = arena_mark(a);
    char *p = memset(arena_alloc_t(a, 100, t), 'x', 100);
    arena_release(a, m);
    const unsigned char *again = arena_alloc_raw(a, 100, t);
    assert_ptr_equal(p, again);
    for (int i = 0; i < 100; i++) assert_int_equal(again[i], ARENA_WIPED);
    const char *zeroed = arena_alloc_t(a, 64, t);
    for (int i = 0; i < 64; i++) assert_int_equal(zeroed[i], 0);
  }
  arena_free(a);
#endif
}

static int by_first_letter(const void *a, const void *b) {
  return ((const char *)a)[0] - ((const char *)b)[0];
}

static void test_vec(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct vec v = vec_new(a);
  vec_sort(&v, by_first_letter);
  for (int i = 0; i < 1000; i++) {
    vec_push(&v, arena_printf(a, "%c%04d", 'a' + i * 7 % 26, i));
  }
  vec_sort(&v, by_first_letter);
  assert_int_equal(v.n, 1000);
  for (size_t i = 1; i < v.n; i++) {
    assert_true(strcmp(v.v[i - 1], v.v[i]) < 0); /* stable: the numbers stay ascending */
  }
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_quoted),
      cmocka_unit_test(test_alloc_is_zeroed_and_aligned),
      cmocka_unit_test(test_mark_and_release),
      cmocka_unit_test(test_release_to_empty),
      cmocka_unit_test(test_tainted_chunks_are_recycled),
      cmocka_unit_test(test_extend),
      cmocka_unit_test(test_copies_keep_taint),
      cmocka_unit_test(test_printf),
      cmocka_unit_test(test_overflow_ends_the_process),
      cmocka_unit_test(test_sanitizer_sees_faults),
      cmocka_unit_test(test_vec),
      cmocka_unit_test(test_released_memory_is_wiped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
