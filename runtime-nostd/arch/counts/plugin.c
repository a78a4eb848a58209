/* Counts the instructions that an Arm program executes between two markers, under QEMU's TCG.
 *
 * MOV r10, r10 begins a span, MOV r11, r11 ends it. For every span the plugin prints one line: instructions, and further
 * registers of LDM, STM, LDRD, STRD, PUSH, POP and their floating-point relatives, each of which takes a cycle more.
 * Instructions that an IT block skips count. */
#include <string.h>

#include "qemu_plugin.h"

/* What was executed, counted a block at a time and before the block runs. */
static uint64_t instructions, transfers;
/* The same at the last beginning of a span. */
static uint64_t first_instruction, first_transfer;

/* Numbers pass through the pointer that a callback gets: two halves of 16 bits. */
static void *pack(uint32_t instructions, uint32_t transfers) {
    return (void *)(uintptr_t)((instructions << 16) | transfers);
}

static void block(unsigned int cpu, void *data) {
    (void)cpu;
    instructions += (uintptr_t)data >> 16;
    transfers += (uintptr_t)data & 0xffff;
}

/* `data`: what the marker's block executes from the marker on, the marker included. */
static void begin(unsigned int cpu, void *data) {
    (void)cpu;
    first_instruction = instructions - ((uintptr_t)data >> 16) + 1;
    first_transfer = transfers - ((uintptr_t)data & 0xffff);
}

static void end(unsigned int cpu, void *data) {
    (void)cpu;
    uint64_t last_instruction = instructions - ((uintptr_t)data >> 16);
    uint64_t last_transfer = transfers - ((uintptr_t)data & 0xffff);
    printf("count %" PRIu64 " %" PRIu64 "\n", last_instruction - first_instruction, last_transfer - first_transfer);
    fflush(stdout);
}

static uint32_t beyond_first(uint32_t registers) {
    uint32_t count = (uint32_t)__builtin_popcount(registers);
    return count > 1 ? count - 1 : 0;
}

/* Registers after the first that an instruction loads or stores. */
static uint32_t further_registers(const uint8_t *code, size_t size) {
    uint32_t first = code[0] | (uint32_t)code[1] << 8;
    if (size == 2) {
        if ((first & 0xf600) == 0xb400) return beyond_first(first & 0x1ff); /* PUSH, POP */
        if ((first & 0xf000) == 0xc000) return beyond_first(first & 0xff);  /* STM, LDM */
        return 0;
    }
    uint32_t second = code[2] | (uint32_t)code[3] << 8;
    if ((first & 0xfe40) == 0xe800) return beyond_first(second); /* STM, LDM and their relatives */
    if ((first & 0xfe40) == 0xe840) {
        int exclusive = (first & 0xff60) == 0xe840; /* or a table branch */
        return exclusive ? 0 : 1;                   /* LDRD, STRD */
    }
    if ((first & 0xfe00) == 0xec00 && (second & 0x0e00) == 0x0a00) {
        int single = (first & 0x0f20) == 0x0d00; /* VLDR, VSTR */
        uint32_t words = single ? ((second & 0x100) ? 2 : 1) : (second & 0xff);
        return words > 1 ? words - 1 : 0;
    }
    return 0;
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb) {
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(tb);
    uint32_t total = 0, before[512];
    uint16_t opcode[512];
    for (size_t n = 0; n < count && n < 512; n++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, n);
        uint8_t code[4] = {0};
        size_t size = qemu_plugin_insn_size(insn);
#if PLUGIN_VERSION < 3
        memcpy(code, qemu_plugin_insn_data(insn), size < 4 ? size : 4);
#else
        qemu_plugin_insn_data(insn, code, sizeof code);
#endif
        before[n] = total;
        opcode[n] = size == 2 ? (uint16_t)(code[0] | code[1] << 8) : 0;
        total += further_registers(code, size);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, block, NO_REGISTERS, pack((uint32_t)count, total));
    for (size_t n = 0; n < count && n < 512; n++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, n);
        void *rest = pack((uint32_t)(count - n), total - before[n]);
        if (opcode[n] == 0x46d2) qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, NO_REGISTERS, rest);
        if (opcode[n] == 0x46db) qemu_plugin_register_vcpu_insn_exec_cb(insn, end, NO_REGISTERS, rest);
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
