/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MIME: the header fields of a part, boundary lines, base64 and quoted-printable as streams.  Floor: formats (pure; input hostile).
 * RFC 2045, 2046, 2047, 2231; manual 45.4.  Texts are tainted arena copies.  All is linear in the input and bounded by the limits below. */
#ifndef FORMATS_MIME_H
#define FORMATS_MIME_H

#include "base/strbuf.h"

enum { MIME_MAX_FIELD_BYTES = 64 << 10, MIME_MAX_SECTIONS = 100, MIME_MAX_BOUNDARY = 200, MIME_MAX_DEPTH = 50, MIME_MAX_PARTS = 10000,
       MIME_MAX_NESTED_MESSAGES = 20 };

/* What the header of a part says; NULL: nothing. */
struct mime_fields {
  const char *type, *disposition, *encoding, *id, *description;  /* lower case, without parameters */
  const char *boundary, *charset, *filename;                     /* parameters, decoded */
  int anomaly_level;             /* 0 none, 1 odd, 2 broken */
  const char *anomaly_text;
};

/* Take in one header field, folded or not, with or without the final newline; fields that do not matter are ignored, of several with one name the
 * first counts.  charset: what encoded texts are converted to, NULL: not at all. */
void mime_take_field(struct arena *a, struct mime_fields *f, struct str field, const char *charset);
/* Note an oddity; a smaller one does not hide a greater. */
void mime_note_anomaly(struct mime_fields *f, int level, const char *text);

bool mime_is_multipart(const struct mime_fields *f);
bool mime_is_message(const struct mime_fields *f);
/* multipart/alternative or related: its parts are of one letter. */
bool mime_parts_belong_together(const struct mime_fields *f);

enum mime_line { MIME_LINE_TEXT, MIME_LINE_PART, MIME_LINE_CLOSE };
/* Is this line, with or without its newline, a delimiter of that boundary? */
enum mime_line mime_classify_line(struct str line, const char *boundary);

enum mime_encoding { MIME_IDENTITY, MIME_BASE64, MIME_QUOTED_PRINTABLE };
enum mime_encoding mime_encoding_of(const struct mime_fields *f);

/* A decoder and its state between two pieces of input. */
struct mime_decoder {
  enum mime_encoding encoding;
  unsigned bits;                 /* base64: collected, and how many */
  int nbits;
  bool ended;                    /* base64: padding was seen */
  char blanks[64];               /* quoted-printable: white space that may be the end of the line */
  size_t nblanks;
  int escape;                    /* bytes seen of "=XY", or -1: blanks behind "=" */
  char first;                    /* X */
  bool is_broken;
};
/* Room that the output of n bytes of input may need. */
#define MIME_DECODED_ROOM(n) ((n) + 128)
/* Decode a piece; number of bytes put to out. */
size_t mime_decode(struct mime_decoder *d, struct str in, char *out);
/* What is left at the end, at most 128 bytes. */
size_t mime_decode_end(struct mime_decoder *d, char *out);
/* Text for $mime_anomaly_text when d->is_broken. */
const char *mime_broken_text(const struct mime_decoder *d);

#endif
