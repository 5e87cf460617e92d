/* A LiteRT delegate that takes no node; with the option "fail" it says that its device is not there.
   Layout of TfLiteDelegate: tensorflow/lite/core/c/common.h; entry points: external_delegate_interface.h. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct delegate {
    void *data;
    int (*prepare)(void *context, struct delegate *delegate);
    void *copy_from, *copy_to, *free_handle;
    int64_t flags;
    void *opaque_builder;
};

static int prepare(void *context, struct delegate *delegate) { return 0; }

void *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i], "fail") == 0) {
            report(values[i]);
            return NULL;
        }
    struct delegate *made = calloc(1, sizeof *made);
    made->prepare = prepare;
    return made;
}

void tflite_plugin_destroy_delegate(void *delegate) { free(delegate); }
