/* Counts the instructions that a program executes from its start to its end, under QEMU's TCG. */
#include "qemu_plugin.h"

static uint64_t instructions;

static void block(unsigned int cpu, void *data) {
    (void)cpu;
    instructions += (uintptr_t)data;
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, block, NO_REGISTERS, (void *)(uintptr_t)qemu_plugin_tb_n_insns(tb));
}

static void end(plugin_id id, void *data) {
    (void)id, (void)data;
    fprintf(stderr, "count %" PRIu64 "\n", instructions);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, end, NULL);
    return 0;
}
