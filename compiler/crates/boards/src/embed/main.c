// Runs the network on one image and prints what it finds.
#include <stdio.h>

#include "model.h"
#include "secateur.h"

// Detections need a score above a quarter; of two that overlap by more than .45 the better stays.
#define SCORE_THRESHOLD (1u << 28)
#define OVERLAP_THRESHOLD 483183821u
#define DETECTIONS 64
#define CLASSES 1000

static uint8_t arena[MODEL_ARENA_BYTES] __attribute__((aligned(16)));
static secateur_model network;
static secateur_detection detections[DETECTIONS];
static uint16_t probabilities[CLASSES];

static int check(secateur_status status) {
    if (status != SECATEUR_STATUS_OK) {
        printf("error: %s\n", secateur_message(status));
    }
    return status == SECATEUR_STATUS_OK;
}

static void print_boxes(size_t count) {
    for (size_t n = 0; n < count; n++) {
        const secateur_detection *d = &detections[n];
        printf("box %u %s score %lu x %ld y %ld w %ld h %ld\n", (unsigned)d->class_number,
               model_class_name(d->class_number), (unsigned long)d->score, (long)d->x, (long)d->y, (long)d->w, (long)d->h);
    }
}

int main(void) {
    size_t count = 0;
    if (!check(secateur_open_linked(&network, model, MODEL_BYTES)) ||
        !check(secateur_run(&network, arena, sizeof arena, image, MODEL_IMAGE_BYTES))) {
        return 1;
    }
    secateur_status status = secateur_classify(&network, arena, sizeof arena, probabilities, CLASSES, &count);
    if (status == SECATEUR_STATUS_OK) {
        for (size_t n = 0; n < count; n++) {
            printf("class %u %s probability %u\n", (unsigned)n, model_class_name((unsigned)n),
                   (unsigned)probabilities[n]);
        }
        return 0;
    }
    if (!check(secateur_detect(&network, arena, sizeof arena, SCORE_THRESHOLD, OVERLAP_THRESHOLD, detections,
                               DETECTIONS, &count))) {
        return 1;
    }
    print_boxes(count);
    return 0;
}
