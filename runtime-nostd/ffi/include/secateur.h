// Secateur's runtime for C. No function allocates, fails without a status, or keeps anything but what it is given.

#ifndef SECATEUR_H
#define SECATEUR_H

#include <stddef.h>
#include <stdint.h>

// Words of a `secateur_model`.
#define SECATEUR_MODEL_WORDS 48

// What a function did. Every other value than `SECATEUR_STATUS_OK` is an error; `secateur_message` has words for it.
typedef enum secateur_status {
  SECATEUR_STATUS_OK = 0,
  // A pointer is null.
  SECATEUR_STATUS_NULL = 1,
  // A pointer to a model or to detections is not aligned.
  SECATEUR_STATUS_ALIGNMENT = 2,
  // The bytes are no artefact, are damaged, or are not valid.
  SECATEUR_STATUS_ARTEFACT = 3,
  // The artefact has a format that this library does not know.
  SECATEUR_STATUS_VERSION = 4,
  // The arena is smaller than `secateur_arena_bytes` says.
  SECATEUR_STATUS_ARENA = 5,
  // The image has another number of bytes than the network's input.
  SECATEUR_STATUS_IMAGE = 6,
  // The library was built for another network, without kernels that this one needs.
  SECATEUR_STATUS_OPERATORS = 7,
  // The network is no classifier, or no detector.
  SECATEUR_STATUS_HEAD = 8,
} secateur_status;

// A checked artefact. Its content is this library's alone; it is valid as long as the artefact's bytes are.
typedef struct secateur_model {
  size_t opaque[SECATEUR_MODEL_WORDS];
} secateur_model;

// One box of one class.
typedef struct secateur_detection {
  // Centre and size in pixels of the network's input, in units of 1 / 65536.
  int32_t x;
  int32_t y;
  int32_t w;
  int32_t h;
  // Objectness times probability of the class, in units of 2^-30.
  uint32_t score;
  // Number of the box: heads in order, rows, columns, anchors.
  uint32_t index;
  // Number of the class.
  uint16_t class_number;
  // In units of 2^-15.
  uint16_t objectness;
} secateur_detection;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Words for a `secateur_status`, ended by a zero byte.
const char *secateur_message(int32_t status);

// Reads an artefact of any origin and checks all of it. `artefact` are `bytes` bytes that stay as long as `model` is
// used.
//
// # Safety
// `artefact` and `model` are null or point to what the function says.
enum secateur_status secateur_open(struct secateur_model *model, const uint8_t *artefact, size_t bytes);

// `secateur_open` for an artefact that `secateur` wrote and nobody changed, such as one in the same program: only its
// version, length, CRC and sections are checked, and the code of the other checks is not linked.
//
// # Safety
// As of `secateur_open`; the artefact is what the compiler wrote.
enum secateur_status secateur_open_linked(struct secateur_model *model, const uint8_t *artefact, size_t bytes);

// Bytes of memory that the network needs beside its artefact; 0 for a null pointer.
//
// # Safety
// `model` is null or was filled by `secateur_open` with success.
size_t secateur_arena_bytes(const struct secateur_model *model);

// Rows, columns and channels of the image, into three numbers.
//
// # Safety
// `model` as in `secateur_arena_bytes`; `shape` is null or has room for three numbers.
enum secateur_status secateur_input_shape(const struct secateur_model *model, size_t *shape);

// Runs the network on an image: `pixels` are `bytes` bytes, rows of pixels of interleaved channels (RGB), 0 to 255.
// The arena holds the outputs afterwards, for `secateur_detect` and `secateur_classify`; it may have any content.
//
// # Safety
// `model` as in `secateur_arena_bytes`; the other pointers are null or point to as many bytes as is said, which
// nobody else uses meanwhile.
enum secateur_status secateur_run(const struct secateur_model *model,
                                  uint8_t *arena,
                                  size_t arena_bytes,
                                  const uint8_t *pixels,
                                  size_t bytes);

// Boxes of a detector after `secateur_run`, best first: at most `capacity` into `detections`, their number into
// `found`. Boxes with a score of `score_threshold` or less are left out, and those that overlap a better one of their
// class by more than `overlap_threshold` (both in units of 2^-30). Where more pass than there is room for before
// overlaps are removed, the best stay. The image is taken to fill the input.
//
// # Safety
// As of `secateur_run`, whose arena this is; `detections` has room for `capacity`, `found` for a number.
enum secateur_status secateur_detect(const struct secateur_model *model,
                                     uint8_t *arena,
                                     size_t arena_bytes,
                                     uint32_t score_threshold,
                                     uint32_t overlap_threshold,
                                     struct secateur_detection *detections,
                                     size_t capacity,
                                     size_t *found);

// Probabilities of a classifier's classes after `secateur_run`, in units of 2^-15: at most `capacity`, their number
// into `found`.
//
// # Safety
// As of `secateur_detect`.
enum secateur_status secateur_classify(const struct secateur_model *model,
                                       uint8_t *arena,
                                       size_t arena_bytes,
                                       uint16_t *probabilities,
                                       size_t capacity,
                                       size_t *found);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SECATEUR_H */
