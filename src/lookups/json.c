/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json: an element of a JSON file, chosen by a list of selectors.  Floor: drivers.  Manual ch. 9.3.
 *
 * The file is parsed once when opened (jansson owns that memory) and kept until the handle is closed.  The key is hostile; it can only
 * select.  A number selects from an array, anything else from an object. */

#include <jansson.h>
#include <stdlib.h>

#include "buildconfig.h"
#include "lookups/lookups_priv.h"
#include "os/library.h"
#include "os/sys.h"
#include "policy/match.h"

#define CALLS(F) \
  F(json_loadfd) F(json_delete) F(json_array_get) F(json_object_get) F(json_string_value) F(json_dumps)
static struct {
  CALLS(LIBRARY_MEMBER)
} lib;
static const char *const lib_names[] = {CALLS(LIBRARY_NAME)};

static const char *load_library(void) { return library_load(CFG_SONAME_JANSSON, lib_names, ARRAY_SIZE(lib_names), &lib); }

static enum outcome json_open(struct expand_ctx *x, const char *file, void **ret_handle, const char **ret_error) {
  json_error_t error;
  const char *why = load_library();
  if (why) {
    *ret_error = arena_printf(x->a, "the JSON library cannot be used: %s", why);
    return OUTCOME_ERROR;
  }
  int fd = sys_open_file(file);
  if (fd < 0) {
    *ret_error = arena_printf(x->a, "failed to open %s for json search: unable to open %s: %s", file, file, sys_open_file_error(fd));
    return OUTCOME_ERROR;
  }
  json_t *top = lib.json_loadfd(fd, JSON_DECODE_ANY, &error);
  (void)!sys_close(fd); /* only read */
  if (!top) {
    *ret_error = arena_printf(x->a, "failed to open %s for json search: %s", file, arena_strdup_t(x->a, error.text, UNTAINTED));
    return OUTCOME_ERROR;
  }
  *ret_handle = top;
  return OUTCOME_OK;
}

/* The only reference is ours. */
static void json_close(void *handle) { lib.json_delete(handle); }

static const json_t *choose(const json_t *j, const char *selector) {
  uint64_t index;
  if (str_parse_u64(str_c(selector), &index)) return json_is_array(j) ? lib.json_array_get(j, index) : NULL;
  return json_is_object(j) ? lib.json_object_get(j, selector) : NULL;
}

static enum outcome json_find(struct expand_ctx *x, void *handle, const char *file, const char *key, const char *opts,
                              struct lookup_result *ret) {
  (void)file;
  (void)opts;
  const json_t *j = handle;
  const char *selector;
  int sep = 0;
  while (j && (selector = list_next(x->a, &key, &sep)) != NULL) j = choose(j, selector);
  if (!j) return OUTCOME_FAIL;
  if (json_is_string(j)) {
    ret->data = arena_strdup_t(x->a, lib.json_string_value(j), UNTAINTED);
    return OUTCOME_OK;
  }
  char *text = lib.json_dumps(j, JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
  if (!text) {
    ret->error = "JSON element could not be printed";
    return OUTCOME_DEFER;
  }
  ret->data = arena_strdup_t(x->a, text, UNTAINTED);
  free(text);
  return OUTCOME_OK;
}

const struct lookup_driver lookup_json = {.name = "json", .flags = LOOKUP_ABSFILE, .open = json_open, .find = json_find, .close = json_close, .preload = load_library};
